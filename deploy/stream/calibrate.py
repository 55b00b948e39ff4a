"""Choose the numbers of the decision rule on recordings with labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmkt.datasets.splits import spread
from tmkt.deploy.stream.rule import leading_class
from tmkt.program.model import Program
from tmkt.program.readout import margin_unit
from tmkt.program.simulator.simulator import Simulator

KEPT = 0.95  # of the recordings, where things of no class are rejected; ours
MOST_RECORDINGS = 500  # each becomes as many windows as it has bins
TOGETHER = 16  # windows run at a time: quickest (measured), and no more states in memory
MOST_CANDIDATES = 500  # margins that are tried: a finer choice than the recordings allow


@dataclass(frozen=True)
class ChosenMargin:
    """Chosen margin, and its effect on the recordings that it was chosen on: the share that is
    decided, the share of these that is right, and the mean number of bins until a decision (None
    where nothing is decided).
    """

    margin: float
    decided: float
    accuracy: float | None
    mean_bins: float | None


def windows_around(
    frames: NDArray[np.uint8], labels: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Cut windows that begin up to half their length before or after a recording, as those of a
    stream do, which knows of no beginning.

    frames uint8 [N, bins, 2, H, W] of recordings, with labels int64 [N]; the windows come in the
    same form, with their recordings' labels. Windows that hold less than half of a recording's
    events are left out, and of more than MOST_RECORDINGS so many, spread over all, are taken. The
    method is ours.
    """
    chosen = spread(len(frames), MOST_RECORDINGS)
    frames, labels = frames[chosen], labels[chosen]
    bins, events = frames.shape[1], _count(frames)
    half = bins // 2
    around = np.pad(frames, [(0, 0), (half, half), (0, 0), (0, 0), (0, 0)])
    windows, shown = [], []
    for begin in range(2 * half + 1):
        window = around[:, begin : begin + bins]
        enough = 2 * _count(window) >= events
        windows.append(window[enough])
        shown.append(labels[enough])
    return np.concatenate(windows), np.concatenate(shown)


def choose_margin(
    program: Program,
    frames: NDArray[np.uint8],
    labels: NDArray[np.int64],
    target: float,
    hold: int = 1,
    nothing: int | None = None,
) -> ChosenMargin:
    """Choose the smallest margin with which at least a share `target` of the decisions is right; if
    there is none, the largest lead of any read-out.

    frames uint8 [N, bins, 2, H, W], a window each, with labels int64 [N]. Give recordings that were
    trained on, or others on which nothing is measured afterwards. The method is ours: decisions
    come as early as the share allows. For the class `nothing`, nothing is decided.
    """
    leading = np.array(
        [
            [leading_class(step) for step in sample]
            for i in range(0, len(frames), TOGETHER)
            for sample in _readouts(program, frames[i : i + TOGETHER])
        ],
        np.int64,
    )  # [N, bins, 2]
    best, leads = leading[:, :, 0], leading[:, :, 1]
    leads = np.where(best == nothing, -1, leads) if nothing is not None else leads
    candidates = np.unique(np.maximum(leads, 0))
    if len(candidates) > MOST_CANDIDATES:
        candidates = candidates[
            np.linspace(0, len(candidates) - 1, MOST_CANDIDATES).astype(np.int64)
        ]
    for candidate in candidates:
        chosen = _try_margin(
            best, leads >= candidate, labels, hold, int(candidate) / margin_unit(program)
        )
        if chosen.accuracy is not None and chosen.accuracy >= target:
            break
    return chosen


def choose_reject_below(program: Program, frames: NDArray[np.uint8]) -> float:
    """Choose the read-out of the best class that a share KEPT of recordings reach, frames uint8 [N,
    bins, 2, H, W], in the unit of the margin.

    Give recordings that were trained on; new ones are rejected more often. The method is ours.
    """
    best = Simulator(program, threads=1).run(frames).readout.max(1)
    return max(float(np.quantile(best, 1 - KEPT, method="lower")), 0.0) / margin_unit(program)


def choose_min_events(frames: NDArray[np.uint8]) -> int:
    """Choose half of the fewest events in a recording, counted in frames uint8 [N, bins, 2, H, W];
    at least 1.

    The method is ours: a window with fewer events than any recording that was trained on is not
    taken for a recording. It keeps out sparse noise, not dense noise (docs/results.md).
    """
    return max(1, int(_count(frames).min()) // 2)


def _count(frames: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count the events of each recording."""
    counted: NDArray[np.int64] = frames.sum(axis=(1, 2, 3, 4), dtype=np.int64)
    return counted


def _readouts(program: Program, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the read-out, summed up to each bin of frames [N, bins, 2, H, W]: int64 [N, bins,
    K].
    """
    simulator, state, found = Simulator(program, threads=1), None, []
    for t in range(frames.shape[1]):
        result = simulator.run(np.ascontiguousarray(frames[:, t : t + 1]), state)
        state = result.state
        found.append(result.readout)
    readouts = np.stack(found, 1)
    return readouts.cumsum(1) if program.readout == "spikes" else readouts


def _try_margin(
    best: NDArray[np.int64],
    enough: NDArray[np.bool_],
    labels: NDArray[np.int64],
    hold: int,
    margin: float,
) -> ChosenMargin:
    """Decide every recording where a best class [N, bins] leads by enough for `hold` bins."""
    recordings, bins = best.shape
    held = np.zeros(recordings, np.int64)
    decided_after, classes = np.zeros(recordings, np.int64), np.full(recordings, -1)
    for t in range(bins):
        same = best[:, t] == best[:, t - 1] if t else np.zeros(recordings, bool)
        held = np.where(enough[:, t], np.where(same, held, 0) + 1, 0)
        now = (decided_after == 0) & (held >= hold)
        decided_after[now], classes[now] = t + 1, best[now, t]
    decided = decided_after > 0
    if not decided.any():
        return ChosenMargin(margin, 0.0, None, None)
    return ChosenMargin(
        margin,
        decided=float(decided.mean()),
        accuracy=float((classes == labels)[decided].mean()),
        mean_bins=float(decided_after[decided].mean()),
    )
