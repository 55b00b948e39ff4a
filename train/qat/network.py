"""A spiking network whose forward pass is the integer program: weights on the grid, membranes
truncated. Straight-through gradients.
"""

import copy
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tmkt.errors import InputError
from tmkt.networks import Block, SpikingNetwork
from tmkt.networks.cpu.threads import parallel_for
from tmkt.networks.lif import LIF
from tmkt.networks.sew_resnet import SpikingConv
from tmkt.program.arithmetic import BIAS_RANGE, DECAY_ONE
from tmkt.program.weight_grid import WeightGrid, bits_of, scale_bounds, scales_to_try
from tmkt.recipe import NetworkRecipe
from tmkt.train.measure import logits_of
from tmkt.train.qat import kernels

READOUT = "readout"  # the head's name in an exported program
NEURONS_AT_ONCE = 1024  # a share of the loops is a multiple of it


@dataclass(frozen=True)
class Rounding:
    """How a layer's weights become integers: their `grid`, and the `area` of the pooling before the
    layer.
    """

    grid: WeightGrid
    area: int

    def integers(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """The program's weights and biases, as floats; gradients pass the rounding, but for weights
        beyond the grid's end.
        """
        assert bias is not None
        step = self.grid.step
        return _rounded(weight * step, step, self.grid.limit), _rounded(
            bias * step, 1, BIAS_RANGE[1]
        )

    def spikes(self, x: Tensor) -> Tensor:
        """Sums of spikes, where `x` holds their means over a pooling's windows."""
        return x if self.area == 1 else _through(x * self.area, torch.round(x * self.area))


class GridConv(nn.Conv2d):
    """A convolution whose outputs are a program layer's sums, bias included: integers, in float32.

    `weight` and `bias` are floats in units of the grid's step, batch norm folded into them: one
    learning rate suits all layers and bits.
    """

    def __init__(self, conv: nn.Conv2d, weight: Tensor, bias: Tensor, rounding: Rounding) -> None:
        sizes = (
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            conv.padding,
            conv.dilation,
            conv.groups,
        )
        super().__init__(*sizes, device=conv.weight.device)  # type: ignore[arg-type]
        self.rounding = rounding
        _set(self, weight, bias, rounding.grid)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] of spikes, sums or means of spikes, to sums [N, C', H', W']."""
        sums: Tensor = self._conv_forward(
            self.rounding.spikes(x), *self.rounding.integers(self.weight, self.bias)
        )
        return sums


class GridHead(nn.Linear):
    """The read-out: logits of each step, as the program adds them up, in the float network's units."""

    def __init__(self, head: nn.Linear, weight: Tensor, bias: Tensor, rounding: Rounding) -> None:
        super().__init__(head.in_features, head.out_features, device=head.weight.device)
        self.rounding = rounding
        _set(self, weight, bias, rounding.grid)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, F] to [T, B, classes]."""
        return (
            F.linear(self.rounding.spikes(x), *self.rounding.integers(self.weight, self.bias))
            / self.rounding.grid.scale
        )


class Standardised(nn.BatchNorm2d):
    """What is left of batch norm where it is folded into the weights: nothing on the deployed path.

    The static stream of methods that keep statistics apart (`without_running_statistics`) was
    normalised by its own batch: it still is, to the mean and spread that the events' sums have
    here, so that the network meets it as it did in training.
    """

    spread: Tensor
    centre: Tensor

    def __init__(self, spread: Tensor, centre: Tensor) -> None:
        super().__init__(len(spread), affine=False, track_running_stats=False)
        self.track_running_stats = True
        self.register_buffer("spread", spread.float())
        self.register_buffer("centre", centre.float())

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W]."""
        if self.track_running_stats:
            return x
        flat = x.flatten(0, 1)
        y: Tensor = F.batch_norm(
            flat, None, None, self.spread, self.centre, training=True, eps=self.eps
        ).unflatten(0, x.shape[:2])
        return y

    def _load_from_state_dict(self, *args: Any) -> None:
        nn.Module._load_from_state_dict(self, *args)  # batch norm's own expects running statistics


class GridLIF(LIF):
    """The program's neuron. `v_seq` holds membranes after the reset in the float network's units."""

    def __init__(self, recipe: NetworkRecipe, store_v_seq: bool, scale: int) -> None:
        super().__init__(recipe, store_v_seq)
        self.scale = scale

    def forward(self, x: Tensor, norm: nn.Module | None = None) -> Tensor:
        """Spikes of sums [T, B, C, ...]. The loops run on the host: on a GPU the sums go there and
        back.
        """
        sums = x if norm is None else norm(x)
        spikes: Tensor
        spikes, membrane = _Fire.apply(sums, self)  # type: ignore[no-untyped-call]
        self.v_seq = membrane if self.store_v_seq else None
        return spikes


def to_grid(
    net: SpikingNetwork, recipe: NetworkRecipe, bits: str, frames: NDArray[np.uint8]
) -> SpikingNetwork:
    """A copy of a trained network, made by `recipe`, on the grid of the `bits`
    (tmkt.program.weight_grid.bits_of): its logits are a program's read-out, per step.

    Each layer's grid is the one of tmkt.program.weight_grid.scales_to_try on which its weights lose
    least (mean squared error) and stays as it is; the read-out's leaves room for MARGIN times what
    the network reaches on `frames`, uint8 [N, T, 2, H, W]. InputError for a network that no program
    holds.
    """
    grid = copy.deepcopy(net)
    bits_by_name = dict(zip(layers_of(net), bits_of(bits, layers_of(net)), strict=True))
    for part in list(_parts(grid)):
        module, neuron = part.module, part.module.neuron
        gain, offset = _folded(module)
        unit = float(neuron.tau * neuron.v_threshold)
        weight, bias = (
            module.conv.weight.detach().double() * gain[:, None, None, None] / (unit * part.area),
            offset / unit,
        )
        on = _choose(part.name, weight, bias, bits_by_name[part.name], None, True)
        spread, centre = (
            values.detach().double() / unit * on.scale
            for values in (module.bn.weight.abs(), module.bn.bias)
        )
        module.conv, module.bn, module.neuron = (
            GridConv(module.conv, weight, bias, Rounding(on, part.area)),
            Standardised(spread, centre),
            GridLIF(recipe, neuron.store_v_seq, on.scale),
        )
        if grid._aligned[0] is neuron:
            grid._aligned[0] = module.neuron
    weight, bias = (
        net.head.weight.detach().double() / _area(net.blocks[-1]),
        net.head.bias.detach().double(),
    )
    on = _choose(READOUT, weight, bias, bits_by_name[READOUT], _peak(net, frames), False)
    grid.head = GridHead(net.head, weight, bias, Rounding(on, _area(net.blocks[-1])))
    return grid


@torch.no_grad()
def from_grid(grid: SpikingNetwork, net: SpikingNetwork) -> None:
    """Puts the weights of a trained grid into a float network of the same kind: `tmkt export` makes
    the same integers of it, given the scales.

    Batch norm becomes the identity, as its part is in the weights.
    """
    for target, source in zip(_parts(net), _parts(grid), strict=True):
        module, conv = target.module, source.module.conv
        unit = float(module.neuron.tau * module.neuron.v_threshold) / conv.rounding.grid.scale
        weight, bias = (
            values.double() * unit for values in conv.rounding.integers(conv.weight, conv.bias)
        )
        module.conv.weight.copy_(weight * conv.rounding.area)
        module.bn.running_mean.zero_()
        module.bn.running_var.fill_(1.0 - module.bn.eps)
        module.bn.weight.fill_(1.0)
        module.bn.bias.copy_(bias)
    rounding = _head(grid).rounding
    weight, bias = (
        values.double() / rounding.grid.scale
        for values in rounding.integers(grid.head.weight, grid.head.bias)
    )
    net.head.weight.copy_(weight * rounding.area)
    net.head.bias.copy_(bias)


def layers_of(net: SpikingNetwork) -> list[str]:
    """The names of a program's layers, in order."""
    return [*net.spiking_layers(), READOUT]


def grids_of(grid: SpikingNetwork) -> dict[str, dict[str, int]]:
    """The grid of each layer by its name, as a dictionary."""
    layers = {part.name: part.module.conv.rounding for part in _parts(grid)} | {
        READOUT: _head(grid).rounding
    }
    return {name: asdict(rounding.grid) for name, rounding in layers.items()}


def _head(grid: SpikingNetwork) -> GridHead:
    assert isinstance(grid.head, GridHead)
    return grid.head


@torch.no_grad()
def _set(layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor, grid: WeightGrid) -> None:
    """Takes weights and biases that act on the membrane in units of the threshold."""
    assert layer.bias is not None
    layer.weight.copy_(weight * (grid.scale / grid.step))
    layer.bias.copy_(bias * (grid.scale / grid.step))


@dataclass(frozen=True)
class _Part:
    """A module with conv, bn and neuron; `area` is that of the pooling before it."""

    name: str
    module: Any
    area: int


def _parts(net: SpikingNetwork) -> Iterator[_Part]:
    names, area = iter(net.spiking_layers()), 1
    for block in net.blocks:
        for module in list(block.modules()):
            if isinstance(module, Block | SpikingConv):
                yield _Part(next(names), module, area)
            elif isinstance(getattr(module, "neuron", None), LIF):
                found = f"{type(module).__name__}"
                raise InputError(
                    f"network: a {found} cannot be trained on integers, expected spiking"
                    " convolutions with batch norm; use another network"
                )
        area = _area(block)
    if next(names, None) is not None:
        raise InputError(
            "network: neurons without a convolution and batch norm before them cannot be trained on"
            " integers; use another network"
        )


def _area(block: nn.Module) -> int:
    return int(getattr(block, "pool", 1)) ** 2


def _folded(module: Any) -> tuple[Tensor, Tensor]:
    """What batch norm multiplies and adds, per channel."""
    bn = module.bn
    gain = bn.weight.double() / torch.sqrt(bn.running_var.double() + bn.eps)
    return gain.detach(), (bn.bias.double() - bn.running_mean.double() * gain).detach()


def _choose(
    name: str, weight: Tensor, bias: Tensor, bits: int, peak: float | None, fires: bool
) -> WeightGrid:
    most = min([*scale_bounds(float(bias.abs().max()), peak, fires).values(), 2.0**31])
    tried = scales_to_try(bits, float(weight.abs().max()), most)
    if not tried:
        raise InputError(
            f"layer {name!r}: its largest weight or bias leaves a scale below 1, expected smaller"
            " ones; train with more weight decay"
        )
    errors = [
        float((_rounded(weight * on.scale, on.step, on.limit) / on.scale - weight).square().sum())
        for on in tried
    ]
    return tried[int(np.argmin(errors))]


@torch.no_grad()
def _peak(net: SpikingNetwork, frames: NDArray[np.uint8]) -> float:
    """The largest membrane of the read-out."""
    device = next(net.parameters()).device
    return max(
        (float(logits.cumsum(0).abs().max()) for logits in logits_of(net, frames, device)),
        default=0.0,
    )


def _rounded(values: Tensor, step: int, limit: int) -> Tensor:
    inside = values.clamp(-limit, limit)
    return _through(inside, step * torch.round(inside / step))


def _through(values: Tensor, rounded: Tensor) -> Tensor:
    """`rounded`, exactly, with the gradient of `values`."""
    return values - values.detach() + rounded.detach()


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, neuron: GridLIF) -> tuple[Tensor, Tensor | None]:
        sums = _flat(x)
        numbers = float(DECAY_ONE - round(DECAY_ONE / neuron.tau)), float(neuron.scale << 6)
        spikes, hidden = np.empty_like(sums), np.empty_like(sums)
        parallel_for(
            sums.shape[1],
            NEURONS_AT_ONCE,
            lambda _, begin, end: kernels.grid_forward(sums, *numbers, spikes, hidden, begin, end),
        )
        ctx.neuron, ctx.numbers, ctx.hidden, ctx.like = neuron, numbers, hidden, x
        ctx.set_materialize_grads(False)
        membrane = None
        if neuron.store_v_seq:
            after = np.where(spikes > 0, np.float32(0), hidden) * np.float32(
                neuron.v_threshold / numbers[1]
            )
            membrane = _shaped(after, x)
        return _shaped(spikes, x), membrane

    @staticmethod
    def backward(
        ctx: Any, grad_spikes: Tensor | None, grad_membrane: Tensor | None
    ) -> tuple[Tensor, None]:
        neuron, hidden = ctx.neuron, ctx.hidden
        none = np.empty((len(hidden), 0), np.float32)
        given = [none if grad is None else _flat(grad) for grad in (grad_spikes, grad_membrane)]
        out = np.empty_like(hidden)
        setting = (
            *ctx.numbers,
            float(neuron.v_threshold),
            neuron.kind,
            np.float32(neuron.surrogate_function.alpha),
        )
        parallel_for(
            hidden.shape[1],
            NEURONS_AT_ONCE,
            lambda _, begin, end: kernels.grid_backward(hidden, *setting, *given, out, begin, end),
        )
        return _shaped(out, ctx.like), None


def _flat(x: Tensor) -> NDArray[np.float32]:
    """[T, everything else] on the host, channels side by side."""
    flat: NDArray[np.float32] = (
        x.detach().movedim(2, -1).contiguous().view(x.shape[0], -1).cpu().numpy()
    )
    return flat


def _shaped(values: NDArray[np.float32], like: Tensor) -> Tensor:
    return torch.from_numpy(values).view(like.movedim(2, -1).shape).movedim(-1, 2).to(like.device)
