"""Accuracy and speed of the decisions of `tmkt stream`: the figures of docs/results.md, "Streams".

Real N-MNIST recordings that the bundle's network was not trained on follow one another in an order
drawn once, so that it is known when each begins. Margins and fewest events are chosen on the
recordings that it was trained on, and on nothing else.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from networks import DATA
from numpy.typing import NDArray
from report import Table, show
from stream_data import GAP_US, KnownStream, concatenate, draw_noise
from stream_speed import measure_live, measure_speed

from tmkt.bundle import Bundle, load
from tmkt.datasets.nmnist import SENSOR, find_recordings
from tmkt.datasets.reading import load_frames
from tmkt.datasets.splits import choose, from_ranges
from tmkt.deploy.stream.calibrate import choose_margin, choose_min_events, windows_around
from tmkt.deploy.stream.decision import Decision
from tmkt.deploy.stream.rule import Rule
from tmkt.deploy.stream.run import Settings, Stream
from tmkt.events.filters import FilterChain, parse_filter

SLOT = 15  # bins from one beginning to the next where windows begin with the recordings
TARGETS = (0.9, 0.95, 0.99, 1.0)
NOISE = (0.1, 1.0, 3.0, 10.0, 30.0, 100.0)  # events a pixel and second
Column = list[object]


def decide(bundle: Bundle, stream: KnownStream, **settings: Any) -> list[Decision]:
    """Run the bundle and its filters on a stream, without a chip's costs unless the settings name a
    device.
    """
    filters = FilterChain([parse_filter(text) for text in bundle.camera.filters], SENSOR)
    run = Stream(bundle, SENSOR, Settings(**{"device": None, **settings}))
    return list(run.decisions(filters.over(stream.chunks())))


def by_time(bundle: Bundle, aligned: KnownStream) -> Table:
    """Measure accuracy against the time after which a decision is forced."""
    rows: list[Column] = []
    for bins in range(1, bundle.contract.bins + 1):
        found = decide(bundle, aligned, window=bins, stride=SLOT)
        right = [
            bundle.classes[label] == d.best for d, label in zip(found, aligned.labels, strict=True)
        ]
        rows.append(
            [
                bins,
                f"{bins * bundle.contract.bin_us / 1e3:.1f}",
                f"{np.mean([d.answer.events for d in found]):,.0f}",
                percent(right),
            ]
        )
    return Table(
        f"Accuracy against decision time, {len(aligned.labels)} recordings, each met once",
        ["bins", "ms", "events, mean", "accuracy, %"],
        rows,
    )


def by_margin(bundle: Bundle, aligned: KnownStream, trained: tuple[Any, Any]) -> Table:
    """Measure accuracy and time of decisions with margins chosen for several accuracies."""
    rows: list[Column] = []
    for hold in (1, 2):
        for target in TARGETS:
            chosen = choose_margin(bundle.program, *trained, target, hold, bundle.nothing)
            found = decide(bundle, aligned, rule=Rule(chosen.margin, hold), stride=SLOT)
            made = [
                (d, bundle.classes[label])
                for d, label in zip(found, aligned.labels, strict=True)
                if d.decided
            ]
            bins = [d.bins for d, _ in made]
            late = np.array(bins) * bundle.contract.bin_us / 1e3
            row = [
                f"{target:g}",
                hold,
                f"{chosen.margin:.1f}",
                f"{100 * len(made) / len(found):.1f}",
                percent([d.best == name for d, name in made]),
            ]
            rows.append([*row, f"{late.mean():.0f}", f"{np.quantile(late, 0.9):.0f}"])
    columns = [
        "asked on those trained on",
        "held, bins",
        "margin",
        "decided, %",
        "of these right, %",
        "ms, mean",
        "ms, 90 %",
    ]
    return Table("Decisions by margin, windows begin with the recordings", columns, rows)


class WithoutMarks(NamedTuple):
    """Decisions in windows that know of no beginning: shares of the recordings, but `right`, a
    share of the `decisions`, and `first_right`, one of the recordings that are decided.
    """

    decided: float
    first_right: float
    ever_right: float
    late_ms: NDArray[np.float64]  # from a recording's beginning to its first right decision
    decisions: int
    right: float


def decide_without_marks(
    bundle: Bundle,
    free: KnownStream,
    trained: tuple[Any, Any],
    *,
    state: str,
    stride: int,
    hold: int,
    asked: float = 0.99,
) -> WithoutMarks:
    """Decide with the margin for the share of right decisions asked for, and the fewest events, of
    the recordings trained on.
    """
    fewest, n = choose_min_events(trained[0]), len(free.labels)
    windows = windows_around(*trained)
    margin = choose_margin(bundle.program, *windows, asked, hold, bundle.nothing).margin
    rule = Rule(margin, hold, fewest)
    found = [d for d in decide(bundle, free, state=state, stride=stride, rule=rule) if d.decided]
    times = np.array([d.time_us for d in found])
    of = np.searchsorted(free.begins_us, times, side="left") - 1
    right = np.array(
        [d.best == bundle.classes[free.labels[i]] for d, i in zip(found, of, strict=True)]
    )
    first = np.unique(of, return_index=True)[1]
    known, first_right = np.unique(of[right], return_index=True)
    return WithoutMarks(
        decided=len(first) / n,
        first_right=float(right[first].mean()),
        ever_right=len(known) / n,
        late_ms=(times[right][first_right] - free.begins_us[known]) / 1e3,
        decisions=len(found),
        right=float(right.mean()),
    )


def without_marks(bundle: Bundle, free: KnownStream, trained: tuple[Any, Any]) -> Table:
    """Decide in windows that know of no beginning. A decision counts for the recording that began
    last before it.
    """
    fewest, n = choose_min_events(trained[0]), len(free.labels)
    rows: list[Column] = []
    for state, stride in (("reset", 10), ("reset", 5), ("reset", 2), ("carry", 1)):
        for hold in (1, 3):
            made = decide_without_marks(
                bundle, free, trained, state=state, stride=stride, hold=hold
            )
            rows.append(
                [
                    state,
                    stride,
                    hold,
                    f"{100 * made.decided:.1f}",
                    f"{100 * made.first_right:.1f}",
                    f"{100 * made.ever_right:.1f}",
                    f"{made.late_ms.mean():.0f}",
                    f"{np.quantile(made.late_ms, 0.9):.0f}",
                    f"{made.decisions / n:.2f}",
                    f"{100 * made.right:.1f}",
                ]
            )
    columns = [
        "state",
        "every, bins",
        "held",
        "decided, %",
        "first right, %",
        "ever right, %",
        "ms to it, mean",
        "ms, 90 %",
        "decisions each",
        "all right, %",
    ]
    notes = [
        f"of {n} recordings, {GAP_US // 1000} ms apart; margin for 99 % on the recordings trained"
        f" on, at least {fewest} events"
    ]
    return Table("Decisions in a stream without marks", columns, rows, notes=notes)


def in_noise(bundle: Bundle, trained: tuple[Any, Any], seconds: float) -> Table:
    """Count the decisions in Poisson noise, which are all false."""
    margin, fewest = (
        choose_margin(
            bundle.program, *windows_around(*trained), 0.99, nothing=bundle.nothing
        ).margin,
        choose_min_events(trained[0]),
    )
    rules = (Rule(), Rule(margin), Rule(min_events=fewest), Rule(margin, 1, fewest))
    rows: list[Column] = []
    for rate in NOISE:
        events = draw_noise(rate, seconds)
        stream = KnownStream(events, np.zeros(1, np.int64), np.zeros(1, np.int64))
        made = [
            sum(d.decided is not None for d in decide(bundle, stream, rule=rule)) for rule in rules
        ]
        rows.append(
            [
                f"{rate:g}",
                f"{len(events) / seconds:,.0f}",
                *(f"{n * 60 / seconds:.0f}" for n in made),
            ]
        )
    columns = [
        "events a pixel and s",
        "events/s",
        "no rule",
        f"margin {margin:.1f}",
        f"{fewest} events",
        "both",
    ]
    notes = [
        f"{seconds:g} s of each; {60e6 / bundle.contract.bin_us / bundle.contract.bins:.0f} windows"
        " a minute"
    ]
    return Table("False decisions a minute in Poisson noise", columns, rows, notes=notes)


def percent(right: Any) -> str:
    return f"{100 * np.mean(right):.1f}" if len(right) else "-"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument(
        "--data",
        type=Path,
        default=DATA,
        help="N-MNIST; other recordings for the speed lie beside it",
    )
    parser.add_argument("--noise", type=float, default=60, help="seconds of noise at each rate")
    parser.add_argument("--live", type=float, default=30, help="seconds over UDP")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=["by_time", "by_margin", "without_marks", "in_noise", "speed", "live"],
        help="these tables alone",
    )
    options = parser.parse_args()
    bundle = load(options.bundle)
    origin = bundle.manifest["origin"]
    pool, images = find_recordings(options.data), from_ranges(origin["images_trained_on"])
    trained = load_frames(choose(pool, "train", origin["trained_on"], images), bundle.contract)
    new = choose(pool, "test", origin["trained_on"], images)
    aligned, free = concatenate(new, SLOT * bundle.contract.bin_us), concatenate(new, None)
    tables = {
        "by_time": lambda: by_time(bundle, aligned),
        "by_margin": lambda: by_margin(bundle, aligned, trained),
        "without_marks": lambda: without_marks(bundle, free, trained),
        "in_noise": lambda: in_noise(bundle, trained, options.noise),
        "speed": lambda: measure_speed(bundle, free, options.data.parent),
        "live": lambda: measure_live(bundle, free, options.live),
    }
    for name in options.only or tables:
        show([tables[name]()], as_json=False)


if __name__ == "__main__":
    main()
