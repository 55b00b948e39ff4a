"""Draw the charts of docs/benchmarks.md from the measurements in docs/results: make charts.

Equal measurements give equal bytes. A chart brings its own surface, light or dark as the reader's
system is, so that it can be read on any page.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from chart_forms import Bar, Series, lines, rows, spread

from tmkt.files import writing

DOCS = Path(__file__).parents[2] / "docs"
SESSIONS = {"biolab-s1-s0": "BioLab, s1 to s0", "biolab-s0-s1": "BioLab, s0 to s1"}
# What is shown of a set: its classes may be tested with unequal numbers of recordings.
FIGURE = {"pokerdvs": "accuracy", **dict.fromkeys(SESSIONS, "recall")}

# Kinds of processors and the instructions that tell them; the first that fits is a processor's.
KINDS = {"AMX": "AMX int8", "VNNI": "AVX-512 VNNI", "AVX2": "AVX2"}

Line = dict[str, Any]


@cache
def measured(name: str) -> list[Line]:
    """Read the lines of a file of results."""
    text = (DOCS / "results" / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def pokerdvs() -> str:
    """Accuracy on POKER-DVS against recordings a class, from a backbone and without."""
    shown = (
        ("mix", "m", "glyphs of the suits, from scratch"),
        ("backbone-mix", "m", "glyphs of the suits, from backbone m"),
        ("frozen", "m", "backbone m, frozen"),
        ("frozen", "s", "backbone s, frozen"),
        ("scratch", "m", "m's network from scratch"),
    )
    series = [_series(label, "pokerdvs", variant, network) for variant, network, label in shown]
    return lines(
        "POKER-DVS: accuracy in % on the other recordings",
        [("", series)],
        "recordings a class; bars: standard deviation over the draws",
    )


def biolab() -> str:
    """Recall on BioLab's objects, trained in one session and tested in the other."""
    panels = [
        (
            title,
            [
                _series("m's network from scratch", name, "scratch", "m"),
                _series("backbone m, frozen", name, "frozen", "m"),
            ],
        )
        for name, title in SESSIONS.items()
    ]
    return lines(
        "BioLab: mean recall of 3 classes in %, in the other session",
        panels,
        "slices of 100 ms a class; bars: standard deviation over the draws",
    )


def bits() -> str:
    """Points that integers lose against the float network, paired by training."""
    found = {}
    for name, figure in FIGURE.items():
        for shots in sorted(_by_shots(name, "frozen", "m"), key=lambda k: k or 10**9):
            own = _backbone(name, "frozen", "m", shots)
            found[f"{SESSIONS.get(name, 'POKER-DVS')}, {shots or 'all'} a class"] = [
                spread([100 * (line[figure] - line[f"{figure}_{bit}"]) for line in own])
                for bit in (8, 4)
            ]
    return rows(
        "Points lost by integers, backbone m with a trained head",
        found,
        "below 0: gained; dot: mean, bar: standard deviation over 10 trainings, paired",
        ["8 bits", "4 bits"],
    )


def simulated() -> str:
    """Accuracy on N-MNIST with images before a simulated camera, each seed."""
    found: dict[str, list[float]] = {}
    for line in measured("nmnist-fewshot-sim"):
        label = f"{line['shots']} a class, {line['steps']} steps"
        found.setdefault(label, []).append(100 * line["accuracy"])
    bars = {label: spread(values) for label, values in found.items()}
    return rows(
        "N-MNIST with simulated events of MNIST's images, accuracy in %",
        {
            label: [bar._replace(single=found[label], shown=f"{bar.middle:.1f}")]
            for label, bar in bars.items()
        },
        "recordings a class to train on; small dots: seeds, large dot: mean, bar: sd",
    )


def speed() -> str:
    """Ratios of the comparisons of make bench on three kinds of processors, their ranges over runs
    of the newest version that was measured there.
    """
    bars = [{name: _range(found) for name, found in _of_kind(kind).items()} for kind in KINDS]
    names = sorted(
        {name for one in bars for name in one},
        key=lambda name: -max(one[name].high for one in bars if name in one),
    )
    return rows(
        "How many times as fast as theirs ours is",
        {name: [one.get(name) for one in bars] for name in names},
        "one thread each, ranges over the runs; logarithmic",
        names=[*KINDS],
        log=True,
    )


def _of_kind(kind: str) -> dict[str, list[Line]]:
    """Collect the lines of processors of a kind, of each comparison's newest version."""
    found: dict[str, list[Line]] = {}
    for line in measured("speed"):
        kinds = (one for one, telling in KINDS.items() if telling in line["instructions"])
        if next(kinds) == kind:
            found.setdefault(line["name"], []).append(line)
    newest = {name: max(line["version"] for line in own) for name, own in found.items()}
    return {
        name: [line for line in own if line["version"] == newest[name]]
        for name, own in found.items()
    }


def _range(found: list[Line]) -> Bar:
    low = min(line.get("low", line.get("ratio")) for line in found)
    high = max(line.get("high", line.get("ratio")) for line in found)
    ends = [f"{end:.0f}" if end >= 100 else f"{end:.3g}" for end in sorted({low, high})]
    shown = " to ".join(ends)
    return Bar(low, high, shown=shown)


PICTURES: dict[str, Callable[[], str]] = {
    "pokerdvs": pokerdvs,
    "biolab": biolab,
    "bits": bits,
    "simulated": simulated,
    "speed": speed,
}


def _backbone(name: str, variant: str, network: str, shots: int) -> list[Line]:
    key = (name, variant, network, shots)
    return [
        line
        for line in measured("backbone")
        if (line["set"], line["variant"], line["network"], line["shots"]) == key
    ]


def _series(label: str, name: str, variant: str, network: str) -> Series:
    """Name a variant with the numbers of trainings behind its points."""
    values = _by_shots(name, variant, network)
    counts = sorted({len(found) for found in values.values()})
    draws = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    return Series(f"{label} ({draws} draws)", values)


def _by_shots(name: str, variant: str, network: str) -> dict[int, Sequence[float]]:
    """Percentages of a variant's trainings by recordings a class (0: all)."""
    found: dict[int, list[float]] = {}
    for line in measured("backbone"):
        if (line["set"], line["variant"], line["network"]) == (name, variant, network):
            found.setdefault(line["shots"], []).append(100 * line[FIGURE[name]])
    return dict(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DOCS / "charts")
    out = parser.parse_args().out
    for name, draw in PICTURES.items():
        with writing(out / f"{name}.svg") as beside:
            beside.write_text(draw(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
