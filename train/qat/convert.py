"""Conversion between float networks and networks whose forward pass is the integer program."""

import copy
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tmkt.errors import InputError
from tmkt.networks import Block, SpikingNetwork
from tmkt.networks.lif import LIF
from tmkt.networks.sew_resnet import SpikingConv
from tmkt.program.weight_grid import WeightGrid, bits_of, scale_bounds, scales_to_try
from tmkt.recipe import NetworkRecipe
from tmkt.train.measure import logits_of
from tmkt.train.qat.fake_quantisation import (
    FakeQuantisation,
    FoldedBatchNorm,
    QuantisedConv,
    QuantisedReadout,
    rounded,
)
from tmkt.train.qat.neuron import IntegerLIF

READOUT = "readout"  # the head's name in an exported program


def fake_quantise(
    net: SpikingNetwork, recipe: NetworkRecipe, bits: str, frames: NDArray[np.uint8]
) -> SpikingNetwork:
    """Copy a trained network, made by `recipe`, with integer weights and neurons.

    The logits of the copy are a program's read-out, step by step. `bits` says how many each layer
    gets (tmkt.program.weight_grid.bits_of). A layer's grid is the one of
    tmkt.program.weight_grid.scales_to_try on which its weights lose least (mean squared error), and
    stays as it is. The read-out's grid leaves room for MARGIN times what the network reaches on
    `frames`, uint8 [N, T, 2, H, W]. Raises InputError for a network that no program holds.
    """
    quantised = copy.deepcopy(net)
    bits_by_name = dict(zip(layer_names(net), bits_of(bits, layer_names(net)), strict=True))
    for layer in list(_spiking_layers(quantised)):
        module, neuron = layer.module, layer.module.neuron
        gain, offset = _batch_norm_factors(module)
        unit = float(neuron.tau * neuron.v_threshold)
        weight = module.conv.weight.detach().double() * gain[:, None, None, None]
        weight, bias = weight / (unit * layer.area), offset / unit
        bounds = scale_bounds(float(bias.abs().max()), peak=None, fires=True)
        grid = _best_grid(layer.name, weight, bits_by_name[layer.name], bounds)
        spread, centre = (
            values.detach().double() / unit * grid.scale
            for values in (module.bn.weight.abs(), module.bn.bias)
        )
        module.conv = QuantisedConv(module.conv, weight, bias, FakeQuantisation(grid, layer.area))
        module.bn = FoldedBatchNorm(spread, centre)
        module.neuron = IntegerLIF(recipe, neuron.store_v_seq, grid.scale)
        if quantised._aligned[0] is neuron:
            quantised._aligned[0] = module.neuron
    area = _pooled_area(net.blocks[-1])
    weight, bias = net.head.weight.detach().double() / area, net.head.bias.detach().double()
    bounds = scale_bounds(float(bias.abs().max()), peak=_readout_peak(net, frames), fires=False)
    grid = _best_grid(READOUT, weight, bits_by_name[READOUT], bounds)
    quantised.head = QuantisedReadout(net.head, weight, bias, FakeQuantisation(grid, area))
    return quantised


@torch.no_grad()
def copy_to_float(quantised: SpikingNetwork, net: SpikingNetwork) -> None:
    """Copy the integer weights of a trained network into a float network of the same kind.

    `tmkt export` makes the same integers of it, given the scales. Batch norm becomes the identity,
    as its part is in the weights.
    """
    for target, source in zip(_spiking_layers(net), _spiking_layers(quantised), strict=True):
        module, conv = target.module, source.module.conv
        neuron, quantisation = module.neuron, conv.quantisation
        unit = float(neuron.tau * neuron.v_threshold) / quantisation.grid.scale
        weight, bias = (
            values.double() * unit for values in quantisation.integers(conv.weight, conv.bias)
        )
        module.conv.weight.copy_(weight * quantisation.area)
        module.bn.running_mean.zero_()
        module.bn.running_var.fill_(1.0 - module.bn.eps)
        module.bn.weight.fill_(1.0)
        module.bn.bias.copy_(bias)
    head = _readout(quantised)
    weight, bias = (
        values.double() / head.quantisation.grid.scale
        for values in head.quantisation.integers(head.weight, head.bias)
    )
    net.head.weight.copy_(weight * head.quantisation.area)
    net.head.bias.copy_(bias)


def layer_names(net: SpikingNetwork) -> list[str]:
    """List the names of a program's layers, in order."""
    return [*net.spiking_layers(), READOUT]


def weight_grids(quantised: SpikingNetwork) -> dict[str, dict[str, int]]:
    """Give each layer's grid by the layer's name, as a dictionary."""
    grids = {
        layer.name: layer.module.conv.quantisation.grid for layer in _spiking_layers(quantised)
    }
    grids[READOUT] = _readout(quantised).quantisation.grid
    return {name: asdict(grid) for name, grid in grids.items()}


def _readout(quantised: SpikingNetwork) -> QuantisedReadout:
    assert isinstance(quantised.head, QuantisedReadout)
    return quantised.head


@dataclass(frozen=True)
class _SpikingLayer:
    """A module with conv, bn and neuron; `area` is that of the pooling before it."""

    name: str
    module: Any
    area: int


def _spiking_layers(net: SpikingNetwork) -> Iterator[_SpikingLayer]:
    names, area = iter(net.spiking_layers()), 1
    for block in net.blocks:
        for module in list(block.modules()):
            if isinstance(module, Block | SpikingConv):
                yield _SpikingLayer(next(names), module, area)
            elif isinstance(getattr(module, "neuron", None), LIF):
                raise InputError(
                    f"network: a {type(module).__name__} cannot be trained on integers, expected"
                    " spiking convolutions with batch norm; use another network"
                )
        area = _pooled_area(block)
    if next(names, None) is not None:
        raise InputError(
            "network: neurons without a convolution and batch norm before them cannot be trained on"
            " integers; use another network"
        )


def _pooled_area(block: nn.Module) -> int:
    return 1 if getattr(block, "takes_max", False) else int(getattr(block, "pool", 1)) ** 2


def _batch_norm_factors(module: Any) -> tuple[Tensor, Tensor]:
    """Give what batch norm multiplies by and adds, per channel."""
    bn = module.bn
    gain = bn.weight.double() / torch.sqrt(bn.running_var.double() + bn.eps)
    return gain.detach(), (bn.bias.double() - bn.running_mean.double() * gain).detach()


def _best_grid(name: str, weight: Tensor, bits: int, bounds: dict[str, float]) -> WeightGrid:
    tried = scales_to_try(bits, float(weight.abs().max()), min([*bounds.values(), 2.0**31]))
    if not tried:
        raise InputError(
            f"layer {name!r}: its largest weight or bias leaves a scale below 1, expected smaller"
            " ones; train with more weight decay"
        )

    def squared_error(grid: WeightGrid) -> float:
        found = rounded(weight * grid.scale, grid.step, grid.limit) / grid.scale
        return float((found - weight).square().sum())

    return min(tried, key=squared_error)


@torch.no_grad()
def _readout_peak(net: SpikingNetwork, frames: NDArray[np.uint8]) -> float:
    """Find the largest membrane of the read-out on the frames."""
    return max(
        (float(logits.cumsum(0).abs().max()) for logits in logits_of(net, frames)), default=0.0
    )
