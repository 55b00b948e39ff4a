"""The numbers of the rule, chosen on recordings with labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.stream.rule import leader, unit
from tmkt.program.model import Program
from tmkt.program.simulator.simulator import Simulator

MOST_CANDIDATES = 500  # margins that are tried: finer than a margin is known


@dataclass(frozen=True)
class Chosen:
    """A margin, and what it does to the recordings that it was chosen on: the share that is
    decided, the share of these that is right, and the mean bins that a decision takes (None where
    nothing is decided).
    """

    margin: float
    decided: float
    accuracy: float | None
    mean_bins: float | None


def choose_margin(
    program: Program,
    frames: NDArray[np.uint8],
    labels: NDArray[np.int64],
    target: float,
    hold: int = 1,
) -> Chosen:
    """The smallest margin with which at least a share `target` of the decisions is right; the
    largest that any read-out has if none does.

    frames uint8 [N, bins, 2, H, W], a window each, with labels int64 [N]. Give recordings that were
    trained on, or others that nothing is measured on afterwards. The method is ours: decisions come
    as early as the share allows.
    """
    leads = np.array(
        [[leader(step) for step in _readouts(program, sample)] for sample in frames], np.int64
    )  # [N, bins, 2]
    candidates = np.unique(np.maximum(leads[:, :, 1], 0))
    if len(candidates) > MOST_CANDIDATES:
        candidates = candidates[
            np.linspace(0, len(candidates) - 1, MOST_CANDIDATES).astype(np.int64)
        ]
    for candidate in candidates:
        found = _decide(leads, labels, int(candidate), hold)
        if found[1] is not None and found[1] >= target:
            break
    return Chosen(int(candidate) / unit(program), *found)


def choose_min_events(frames: NDArray[np.uint8]) -> int:
    """Half of what the emptiest recording has, in counts of frames uint8 [N, bins, 2, H, W]; at
    least 1. Ours: what has fewer events than any recording that was trained on is not taken for
    one. It keeps out sparse noise, not dense (docs/results.md).
    """
    return max(1, int(frames.sum(axis=(1, 2, 3, 4), dtype=np.int64).min()) // 2)


def _readouts(program: Program, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
    """int64 [bins, K]: what has added up after each bin of frames [bins, 2, H, W]."""
    simulator, state, found = Simulator(program, threads=1), None, []
    for frame in frames:
        result = simulator.run(frame[None, None], state)
        state = result.state
        found.append(result.readout[0])
    readouts = np.stack(found)
    return readouts.cumsum(0) if program.readout == "spikes" else readouts


def _decide(
    leads: NDArray[np.int64], labels: NDArray[np.int64], margin: int, hold: int
) -> tuple[float, float | None, float | None]:
    best, enough = leads[:, :, 0], leads[:, :, 1] >= margin
    held = np.zeros(len(leads), np.int64)
    bins, classes = np.full(len(leads), -1), np.full(len(leads), -1)
    for t in range(leads.shape[1]):
        same = best[:, t] == best[:, t - 1] if t else np.zeros(len(leads), bool)
        held = np.where(enough[:, t], np.where(same, held, 0) + 1, 0)
        now = (bins < 0) & (held >= hold)
        bins[now], classes[now] = t + 1, best[now, t]
    decided = bins > 0
    if not decided.any():
        return 0.0, None, None
    return (
        float(decided.mean()),
        float((classes == labels)[decided].mean()),
        float(bins[decided].mean()),
    )
