"""Choices of a proposed recipe: small pure functions, each from what was seen to keys and reasons.

The bounds are our choice; where a measurement stands behind one, it is named.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, log10

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.coverage import rounded_up

Size = tuple[int, int]  # (height, width)

# Cameras whose size is taken where events reach nearly to their borders (height, width)
CAMERAS = ((34, 34), (128, 128), (180, 240), (240, 304), (260, 346), (480, 640), (720, 1280))
REACHED = 0.95  # of each side
# Side of the input that all measurements of docs/results.md and of the backbone were made with
INPUT_SIDE = 36
SMALLEST_SIDE = 8  # of the input, before a long camera is cropped
MOST_CROPPED = 0.02  # of the events, that a crop to the middle square may lose
BINS, BIN_US = 10, 50_000  # ten bins, as all measurements had, unless they were longer than this
MOST_BINS = 20
OUTLIER = 2.0  # a recording longer than this times the 95th percentile need not be covered
SMALLEST_MAP = 4  # sites a side, which pooling leaves
# Widths of the four blocks: nmnist-fewshot's and narrower ones
WIDTHS = ((16, 32, 64, 64), (12, 24, 48, 48), (8, 16, 32, 32), (4, 8, 16, 16))
MOST_STEPS = 3000  # the longest schedule that was measured with few recordings
FEWEST_STEPS = 20
SHARE_OF_BUDGET = 0.9  # for the steps; the rest reads, validates and tests
ROUND_STEPS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)


@dataclass(frozen=True)
class Camera:
    """The camera's (height, width); `guessed`: by the events, as no file says it."""

    size: Size
    guessed: bool


def choose_camera(said: Sequence[Size], reached: Size) -> Camera:
    """Choose the camera's size: what the files say, else a known camera whose borders the events
    reach, else what they reach.
    """
    if said:
        return Camera(max(set(said), key=lambda size: (said.count(size), size)), guessed=False)
    for size in CAMERAS:
        fits = all(seen <= side for seen, side in zip(reached, size, strict=True))
        fills = all(seen >= REACHED * side for seen, side in zip(reached, size, strict=True))
        if fits and fills:
            return Camera(size, guessed=True)
    return Camera(reached, guessed=True)


@dataclass(frozen=True)
class Input:
    """The network's input: (height, width), and the integer by which pixels are divided.

    `cropped`: only the middle of the camera is looked at, `lost` of the events lie outside of it.
    """

    size: Size
    factor: int
    cropped: bool
    lost: float


def choose_input(camera: Size, pixels: NDArray[np.int64]) -> Input:
    """Choose the input of the network: the camera divided by the least integer that brings its
    longer side to INPUT_SIDE, of its middle square where nearly all events lie in that, or where
    nothing would be left of the shorter side.
    """
    square = (min(camera), min(camera))
    strip = min(camera) // ceil(max(camera) / INPUT_SIDE) < SMALLEST_SIDE
    cropped = camera != square and (strip or _outside(camera, square, pixels) <= MOST_CROPPED)
    looked_at = square if cropped else camera
    factor = ceil(max(looked_at) / INPUT_SIDE)
    size = (looked_at[0] // factor, looked_at[1] // factor)
    seen = (size[0] * factor, size[1] * factor)
    return Input(size, factor, cropped, _outside(camera, seen, pixels))


def _outside(camera: Size, seen: Size, pixels: NDArray[np.int64]) -> float:
    """Compute the share of events outside of the middle of the camera that is `seen`."""
    top, left = (camera[0] - seen[0]) // 2, (camera[1] - seen[1]) // 2
    inside = pixels[max(top, 0) : top + seen[0], max(left, 0) : left + seen[1]].sum()
    total = pixels.sum()
    return float(1 - inside / total) if total else 0.0


@dataclass(frozen=True)
class Binning:
    """Time bins; `left_out`: recordings that are longer than all of them together."""

    bins: int
    bin_us: int
    left_out: int

    @property
    def span_us(self) -> int:
        """Time that the bins cover."""
        return self.bins * self.bin_us


def choose_bins(durations_us: Sequence[int]) -> Binning:
    """Choose number and length of bins so that they cover the recordings, from their durations.

    Recordings more than OUTLIER times as long as the 95th percentile are not covered: their length
    would cost all others their resolution in time.
    """
    ordered = sorted(durations_us)
    typical = ordered[ceil(0.95 * len(ordered)) - 1]
    span = ordered[-1] if ordered[-1] <= OUTLIER * typical else typical
    bins = min(max(BINS, ceil(span / BIN_US)), MOST_BINS)
    bin_us = rounded_up(span // bins + 1)
    return Binning(bins, bin_us, sum(duration >= bins * bin_us for duration in durations_us))


@dataclass(frozen=True)
class Shape:
    """Strides and pools of the network's blocks, and the sides of its maps from the input on."""

    strides: tuple[int, ...]
    pools: tuple[int, ...]
    sides: tuple[int, ...]


def choose_shape(size: Size) -> Shape:
    """Choose strides and pools of four blocks, so that maps shrink to SMALLEST_MAP and no further.

    The first convolution halves a larger input at once: full-size maps cost 4.5 times as much
    (measured on N-MNIST).
    """
    side = min(size)
    sides, pools = [side], [1]
    strides = (2 if side >= 6 * SMALLEST_MAP else 1, 1, 1, 1)
    side = -(-side // strides[0])
    sides.append(side)
    for _ in strides[1:]:
        pool = 2 if side // 2 >= SMALLEST_MAP else 1
        pools.append(pool)
        side //= pool
        sides.append(side)
    return Shape(strides, tuple(pools), tuple(sides))


@dataclass(frozen=True)
class Width:
    """Channels of the blocks, and the cores that the network takes; None: it fits on no chip."""

    channels: tuple[int, ...]
    cores: int | None


def choose_width(cores_of: Callable[[tuple[int, ...]], int | None]) -> Width:
    """Choose the widest network that fits one chip. `cores_of` gives the cores that channels take,
    None where they do not fit.
    """
    for channels in WIDTHS:
        if (cores := cores_of(channels)) is not None:
            return Width(channels, cores)
    return Width(WIDTHS[-1], None)


def choose_share(fewest_instances: int) -> float:
    """Choose the share of each class to train on: less where a tenth would be few to test."""
    return 0.9 if fewest_instances >= 50 else 0.7


def choose_steps(minutes: float, seconds_a_step: float, most: int = MOST_STEPS) -> int:
    """Choose the round number of steps that a budget allows, FEWEST_STEPS to `most`."""
    if seconds_a_step <= 0:
        raise InputError(f"a step of {seconds_a_step} s: expected a time above 0")
    steps = SHARE_OF_BUDGET * minutes * 60 / seconds_a_step
    steps = min(max(steps, FEWEST_STEPS), most)
    unit = 10 ** int(log10(steps))
    return int(max(step * unit for step in ROUND_STEPS if step * unit <= steps))


def round_digits(value: float, digits: int = 2) -> float:
    """Round to so many significant digits."""
    return float(f"{value:.{digits}g}")
