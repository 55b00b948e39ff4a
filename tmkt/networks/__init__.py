"""Spiking networks for training, one family a file. `SpikingNetwork` puts a linear head on any
family.
"""

from tmkt.networks.network import NetworkOutput, SpikingNetwork
from tmkt.networks.vgg import Block

__all__ = ["Block", "NetworkOutput", "SpikingNetwork"]
