"""From a trained network to NIR: batch norm folded, and written so that snnTorch and Norse load it."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tmkt.errors import InputError
from tmkt.networks import Block, SpikingNetwork
from tmkt.nir_file import import_nir
from tmkt.nir_graph import DEFAULT_DT

if TYPE_CHECKING:
    import nir


def network_to_nir(net: SpikingNetwork, dt: float = DEFAULT_DT) -> "nir.NIRGraph":
    """The network in evaluation mode as a NIR graph; `dt` is the length in seconds that a time step stands for.

    Nodes: input, conv1_synapse (Conv2d with bias), conv1 (LIF), conv1_pool (SumPool2d, where the block pools), ..., flatten, readout
    (Affine), output; the network's logits are the read-out's mean over the time steps. SpikingJelly's h = v + (x - v) / tau is NIR's LIF
    with tau * dt, r = 1, v_leak = v_reset = 0; its rule v >= threshold is in the metadata, as NIR itself says >. Average pooling becomes
    a sum, its area is divided out of the next layer's weights: Norse does not know AvgPool2d, snnTorch only with pairs. Float32 arrays.
    """
    nir = import_nir()
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array(net.input_shape)})}
    shape, area = net.input_shape, 1
    for i, block in enumerate(net.blocks):
        if not isinstance(block, Block):
            raise InputError(f"network: block {i + 1} is a {type(block).__name__}, expected a chain of convolutions; train a small network or vggsnn")
        name, conv = f"conv{i + 1}", block.conv
        weight, bias = fold_batch_norm(block)
        stride, padding, dilation = (tuple(int(n) for n in pair) for pair in (conv.stride, conv.padding, conv.dilation))
        nodes[f"{name}_synapse"] = nir.Conv2d(
            shape[1:], (weight / area).astype(np.float32), stride, padding, dilation, conv.groups, bias.astype(np.float32)
        )
        size = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in zip(shape[1:], padding, dilation, weight.shape[2:], stride, strict=True)]
        shape = (weight.shape[0], size[0], size[1])
        nodes[name] = _lif(block, shape, dt)
        area = block.pool**2
        if block.pool > 1:
            two = np.array([block.pool, block.pool])
            nodes[f"{name}_pool"] = nir.SumPool2d(two, two, np.array([0, 0]))
            shape = (shape[0], shape[1] // block.pool, shape[2] // block.pool)
    nodes["flatten"] = nir.Flatten({"input": np.array(shape)}, 0, -1)
    nodes["readout"] = nir.Affine((_float64(net.head.weight) / area).astype(np.float32), _float64(net.head.bias).astype(np.float32))
    nodes["output"] = nir.Output({"output": np.array([net.head.out_features])})
    names = list(nodes)
    metadata = {"dt": dt, "reset": "hard", "threshold_rule": ">=", "discretisation": "euler"}
    return nir.NIRGraph(nodes, list(pairwise(names)), metadata)


def fold_batch_norm(block: Block) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight [C_out, C_in, K, K] and bias [C_out] of the convolution that equals the block's convolution and batch norm."""
    bn = block.bn
    assert bn.running_mean is not None
    assert bn.running_var is not None
    with np.errstate(invalid="ignore"):  # what is no number is refused, with its node, when the graph is read
        gain = _float64(bn.weight) / np.sqrt(_float64(bn.running_var) + bn.eps)
    return _float64(block.conv.weight) * gain[:, None, None, None], _float64(bn.bias) - _float64(bn.running_mean) * gain


def _lif(block: Block, shape: tuple[int, ...], dt: float) -> "nir.LIF":
    neuron = block.neuron
    if neuron.v_reset != 0 or not neuron.decay_input:
        found = f"v_reset={neuron.v_reset}, decay_input={neuron.decay_input}"
        raise InputError(f"network: a LIF with {found} cannot be exported, expected v_reset=0 and decay_input=True; train with those")

    def full(value: float) -> NDArray[np.float32]:
        return np.full(shape, value, np.float32)

    return import_nir().LIF(full(neuron.tau * dt), full(1), full(0), full(neuron.v_threshold), full(0))


def _float64(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().double().cpu().numpy()
