"""The networks that are trained. One file a family; `SpikingNetwork` is any of them behind one
linear head.
"""

from tmkt.networks.network import NetworkOutput, SpikingNetwork
from tmkt.networks.vgg import Block

__all__ = ["Block", "NetworkOutput", "SpikingNetwork"]
