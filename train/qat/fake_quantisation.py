"""Layers with fake quantisation: integer weights in the forward pass, float weights that learn.

Gradients pass the rounding straight through.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tmkt.program.arithmetic import BIAS_RANGE
from tmkt.program.weight_grid import WeightGrid


@dataclass(frozen=True)
class FakeQuantisation:
    """The rounding of a layer's weights to its `grid`.

    `area` is that of the average pooling before the layer: 4 for windows of 2x2, 1 without.
    """

    grid: WeightGrid
    area: int

    def integers(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """Round weights and biases to the program's integers, given as floats.

        Gradients pass the rounding, but not the clipping of weights beyond the grid's end.
        """
        assert bias is not None
        step = self.grid.step
        return (
            rounded(weight * step, step, self.grid.limit),
            rounded(bias * step, 1, BIAS_RANGE[1]),
        )

    def spike_sums(self, x: Tensor) -> Tensor:
        """Turn means of spikes over a pooling's windows into their sums."""
        return x if self.area == 1 else _straight_through(x * self.area, torch.round(x * self.area))


class QuantisedConv(nn.Conv2d):
    """A convolution that gives a program layer's sums, bias included: integers, in float32.

    `weight` and `bias` are floats in units of the grid's step, with batch norm folded into them: so
    one learning rate suits all layers and bits. The arguments `weight` and `bias` are in units of
    the threshold.
    """

    def __init__(
        self, conv: nn.Conv2d, weight: Tensor, bias: Tensor, quantisation: FakeQuantisation
    ) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            stride=conv.stride,  # type: ignore[arg-type]
            padding=conv.padding,  # type: ignore[arg-type]
            dilation=conv.dilation,  # type: ignore[arg-type]
            groups=conv.groups,
            device=conv.weight.device,
        )
        self.quantisation = quantisation
        _set_weights(self, weight, bias, quantisation.grid)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve [N, C, H, W] of spikes, sums or means of spikes to sums [N, C', H', W']."""
        weight, bias = self.quantisation.integers(self.weight, self.bias)
        sums: Tensor = self._conv_forward(self.quantisation.spike_sums(x), weight, bias)
        # The fastest convolution on a GPU may be Winograd's, which rounds; the sums are whole.
        return _straight_through(sums, sums.round()) if sums.is_cuda else sums


class QuantisedReadout(nn.Linear):
    """The read-out: logits of each step from integer sums, in the float network's units."""

    def __init__(
        self, head: nn.Linear, weight: Tensor, bias: Tensor, quantisation: FakeQuantisation
    ) -> None:
        super().__init__(head.in_features, head.out_features, device=head.weight.device)
        self.quantisation = quantisation
        _set_weights(self, weight, bias, quantisation.grid)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits [T, B, classes] of features [T, B, F]."""
        weight, bias = self.quantisation.integers(self.weight, self.bias)
        sums = F.linear(self.quantisation.spike_sums(x), weight, bias)
        return sums / self.quantisation.grid.scale


class FoldedBatchNorm(nn.BatchNorm2d):
    """The place of a batch norm that is folded into the weights: does nothing on the deployed path.

    Methods that keep statistics apart (`without_running_statistics`) normalised the static stream
    by its own batch. It still is, to the mean and spread that the events' sums have here: the
    network meets it as it did in the float training.
    """

    spread: Tensor
    centre: Tensor

    def __init__(self, spread: Tensor, centre: Tensor) -> None:
        super().__init__(len(spread), affine=False, track_running_stats=False)
        self.track_running_stats = True
        self.register_buffer("spread", spread.float())
        self.register_buffer("centre", centre.float())

    def forward(self, x: Tensor) -> Tensor:
        """Pass [T, B, C, H, W] on, or normalise it by its own statistics."""
        if self.track_running_stats:
            return x
        normalised: Tensor = F.batch_norm(
            x.flatten(0, 1),
            running_mean=None,
            running_var=None,
            weight=self.spread,
            bias=self.centre,
            training=True,
            eps=self.eps,
        ).unflatten(0, x.shape[:2])
        return normalised

    def _load_from_state_dict(self, *args: Any) -> None:
        nn.Module._load_from_state_dict(self, *args)  # batch norm's own expects running statistics


def rounded(values: Tensor, step: int, limit: int) -> Tensor:
    """Round to multiples of `step` within -limit .. limit; gradients pass where nothing clips."""
    inside = values.clamp(-limit, limit)
    return _straight_through(inside, step * torch.round(inside / step))


def _straight_through(values: Tensor, replaced_by: Tensor) -> Tensor:
    """Give `replaced_by`, exactly, with the gradient of `values`."""
    return values - values.detach() + replaced_by.detach()


@torch.no_grad()
def _set_weights(
    layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor, grid: WeightGrid
) -> None:
    """Set weights and biases, given in units of the threshold, in units of the grid's step."""
    assert layer.bias is not None
    layer.weight.copy_(weight * (grid.scale / grid.step))
    layer.bias.copy_(bias * (grid.scale / grid.step))
