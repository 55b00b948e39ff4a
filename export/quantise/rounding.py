"""Round weights to their grid, each so that it makes up for the errors of those before it."""

import numpy as np
from numpy.typing import NDArray

from tmkt.export.quantise.calibration import BLOCK, InputStatistics
from tmkt.program.weight_grid import WeightGrid, scales_to_try

Doubles = NDArray[np.float64]
# Share of the mean second moment that is added to all: the published choice (GPTQ, arXiv
# 2210.17323).
DAMPING = 0.01
TRIED_ROWS = 16  # neurons (channels) that a scale is tried on, ours


class WeightRounder:
    """Rounds one weight array, [rows, ...], of a layer whose inputs have these statistics (one a
    group).

    The squared error of a neuron's synaptic sum on those inputs is d H d for errors d of its
    weights and second moments H. Weights are rounded one after the other, and each error is made up
    for by those that are still to be rounded (optimal brain quantisation as GPTQ does it, arXiv
    2210.17323; here most active inputs first). Without `statistics` each goes to its nearest level.
    """

    def __init__(self, weight: Doubles, statistics: list[InputStatistics] | None) -> None:
        self.weight = weight
        groups = len(statistics) if statistics else 1
        self.rows = weight.reshape(groups, len(weight) // groups, -1)
        self.blocks = (
            [[_Block(second) for second in group.second] for group in statistics]
            if statistics
            else None
        )

    def integers(self, grid: WeightGrid) -> NDArray[np.int16]:
        """Round the weights to a grid, int16 of their own shape."""
        return self._round(self.rows, grid).reshape(self.weight.shape).astype(np.int16)

    def error(self, grid: WeightGrid) -> float:
        """Compute the mean squared error of the synaptic sums of some rows, in units of the
        threshold.
        """
        rows = self.rows[:, :: max(1, self.rows.shape[0] * self.rows.shape[1] // TRIED_ROWS)]
        errors = self._round(rows, grid) / grid.scale - rows
        if self.blocks is None:
            return float((errors**2).sum(2).mean())
        total = 0.0
        for group, blocks in zip(errors, self.blocks, strict=True):
            total += sum(
                float(((part @ block.second) * part).sum())
                for part, block in zip(_parts(group), blocks, strict=True)
            )
        return total / int(errors.shape[0] * errors.shape[1])

    def _round(self, rows: Doubles, grid: WeightGrid) -> Doubles:
        scaled = rows * grid.scale
        if self.blocks is None:
            return _nearest(scaled, grid)
        out = np.empty_like(scaled)
        for group, blocks, rounded in zip(scaled, self.blocks, out, strict=True):
            for part, block, target in zip(_parts(group), blocks, _parts(rounded), strict=True):
                target[:] = _compensated(part, block, grid)
        return out


def _nearest(scaled: Doubles, grid: WeightGrid) -> Doubles:
    nearest: Doubles = np.clip(grid.step * np.rint(scaled / grid.step), -grid.limit, grid.limit)
    return nearest


def _compensated(scaled: Doubles, block: "_Block", grid: WeightGrid) -> Doubles:
    left = np.ascontiguousarray(scaled[:, block.order].T)  # [k, rows]
    rounded = np.empty_like(left)
    for start in range(0, len(left), _STRIP):
        end = min(start + _STRIP, len(left))
        errors = np.empty((end - start, left.shape[1]))
        for i in range(start, end):
            rounded[i] = _nearest(left[i], grid)
            errors[i - start] = (left[i] - rounded[i]) / block.factor[i, i]
            left[i + 1 : end] -= block.factor[i, i + 1 : end, None] * errors[i - start]
        left[end:] -= block.factor[start:end, end:].T @ errors
    out = np.empty_like(scaled)
    out[:, block.order] = rounded.T
    return out


_STRIP = 64  # weights whose errors are passed on together to those beyond


class _Block:
    """Second moments of a block of inputs; `order`: the inputs, most active first; `factor`: the
    upper Cholesky factor of the inverse second moments in that order.
    """

    def __init__(self, second: Doubles) -> None:
        self.second = second
        self.order = np.argsort(-np.diag(second), kind="stable")
        mean = float(np.trace(second)) / len(second)
        damped = second[np.ix_(self.order, self.order)] + (DAMPING * mean or 1.0) * np.eye(
            len(second)
        )
        self.factor = np.linalg.cholesky(np.linalg.inv(damped)).T


def _parts(rows: Doubles) -> list[Doubles]:
    return [rows[:, start : start + BLOCK] for start in range(0, rows.shape[1], BLOCK)]


def choose_grid(rounders: list[WeightRounder], bits: int, most: float) -> WeightGrid | None:
    """Choose the grid with a scale of at most `most` on which a layer's weight arrays together lose
    least; None where no scale is above 0.
    """
    tried = scales_to_try(
        bits, max(float(np.abs(rounder.weight).max()) for rounder in rounders), most
    )
    if len(tried) < 2:
        return tried[0] if tried else None
    return min(tried, key=lambda grid: sum(rounder.error(grid) for rounder in rounders))
