"""Accuracy and false decisions under labelled faults of the sensor, with and without filters and a
class of noise.

python tests/bench/robustness.py bundles/nmnist --network plain --seed 0 --data
../shared/data/nmnist --out runs/robustness; python tests/bench/robustness.py --out runs/robustness
--table

Accuracy: N-MNIST recordings that were not trained on, the same faults for all columns. False
decisions: SECONDS of the fault alone, as tmkt stream decides, with the fewest events that it
chooses for itself, and with any number. First right: of the recordings in a stream without marks
that are decided, as stream.py has it (windows one after another, each from zero), with the margins
of tmkt stream --margin auto --accuracy SHARE. A bundle with filters of its own is measured with
these, another one with SETS. What is in results.jsonl is not measured again.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from faults import FAULTS, Fault
from lines import add, results, spread, train_and_show
from stream import decide_without_marks
from stream_data import concatenate

from tmkt.bundle import Bundle, load
from tmkt.cli.tables.table import table
from tmkt.datasets.reading import load_frames
from tmkt.datasets.seen import recordings_of
from tmkt.datasets.types import Recording
from tmkt.deploy.stream.calibrate import choose_min_events
from tmkt.deploy.stream.rule import Rule
from tmkt.deploy.stream.run import Settings, Stream
from tmkt.events.filters import FilterChain, parse_filter
from tmkt.events.frames import events_to_frames
from tmkt.events.types import Events
from tmkt.program.simulator.simulator import Simulator
from tmkt.readers.atis import read_bin

CLEAN = "none"
STREAM = "none, stream decided by the margin for %"
ASKED = (98.0, 99.0, 99.5, 100.0)
NO_FILTER, OWN = "no filter", "its own"
SETS = {
    NO_FILTER: "",
    "background": "background:dt_us=10000",
    "all": "hot:window_us=100000,least=20 flicker background:dt_us=10000",
}
SECONDS = 60
# Of a stream of the fault alone; the others need events to work on.
NOISES = (
    "background activity, events a pixel and second",
    "hot pixels of 1 kHz",
    "pixels that see a lamp",
)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--network", default="plain", help="what the table calls the bundle")
    parser.add_argument("--seed", type=int, default=0, help="of its training")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder of N-MNIST")
    parser.add_argument(
        "--faults", nargs="+", default=[CLEAN, STREAM, *FAULTS], help="beginnings of their names"
    )
    parser.add_argument("--recordings", type=int, default=500)
    parser.add_argument("--table", action="store_true", help="measure nothing, show what OUT holds")
    options = parser.parse_args()
    if not options.table and (options.data is None or options.bundle is None):
        parser.error("a bundle and --data are needed to measure")
    return options


def filtered(events: Events, texts: str) -> Events:
    return FilterChain([parse_filter(text) for text in texts.split()], events.sensor).apply(events)


def sets_of(bundle: Bundle) -> dict[str, str]:
    """Give the sets of filters to measure a bundle with, by name."""
    if bundle.camera.filters:
        return {OWN: " ".join(bundle.camera.filters)}
    return SETS if bundle.nothing is None else {NO_FILTER: ""}


def accuracy(
    bundle: Bundle,
    chosen: Sequence[tuple[Recording, Events]],
    fault: Fault | None,
    severity: float,
    filters: str,
) -> float:
    """Share of right answers. A recording of which nothing is left is wrong."""
    frames, labels = [], []
    for number, (recording, whole) in enumerate(chosen):
        events = fault(whole, severity, np.random.default_rng(number)) if fault else whole
        events = filtered(events, filters)
        frames.append(events_to_frames(events, bundle.camera))
        labels.append(recording.label if len(events) else -1)
    found = Simulator(bundle.program, 1).run(np.stack(frames)).readout.argmax(1)
    return float((found == np.array(labels)).mean())


def false_decisions(
    bundle: Bundle, fault: Fault, severity: float, filters: str, least: int
) -> float:
    """Decisions a minute on the fault alone."""
    sensor = bundle.camera.sensor
    ends = Events(
        np.array([0, SECONDS * 10**6]),
        np.zeros(2, np.uint16),
        np.zeros(2, np.uint16),
        np.zeros(2, np.uint8),
        sensor,
    )
    events = filtered(fault(ends, severity, np.random.default_rng(0)), filters)
    stream = Stream(bundle, sensor, Settings(device=None, rule=Rule(None, 1, least)))
    decided = sum(decision.decided is not None for decision in stream.decisions([events]))
    return decided * 60 / SECONDS


def measure_all(options: argparse.Namespace) -> None:
    bundle = load(options.bundle)
    recordings = recordings_of(bundle.manifest, options.data, "test", options.recordings)
    chosen = [(one, read_bin(one.path, bundle.camera.sensor)) for one in recordings]
    train = recordings_of(bundle.manifest, options.data, "train", None)
    trained = load_frames(train, bundle.contract)
    least = choose_min_events(trained[0])
    own = {"network": options.network, "seed": options.seed}
    known = {
        (line["fault"], line["severity"], line["filters"])
        for line in results(options.out)
        if own.items() <= line.items()
    }
    wanted = [(CLEAN, 0.0, None), *((STREAM, share, None) for share in ASKED)]
    wanted += [(name, level, fault) for name, (fault, levels) in FAULTS.items() for level in levels]
    for name, level, fault in wanted:
        for label, texts in sets_of(bundle).items():
            asked = any(name.startswith(text) for text in options.faults)
            fits = name != STREAM or label in (NO_FILTER, OWN)
            if (name, level, label) in known or not (asked and fits):
                continue
            line: dict[str, Any] = {"fault": name, "severity": level, **own, "filters": label}
            line["recordings"], line["min_events"] = len(chosen), least
            if name == STREAM:
                free = concatenate(recordings, None)
                made = decide_without_marks(
                    bundle, free, trained, state="reset", stride=10, hold=1, asked=level / 100
                )
                line["first_right"], line["decided"] = made.first_right, made.decided
            else:
                line["accuracy"] = accuracy(bundle, chosen, fault, level, texts)
            if fault is not None and name in NOISES:
                for key, fewest in (("false_a_minute", least), ("false_of_any_events", 1)):
                    line[key] = false_decisions(bundle, fault, level, texts, fewest)
            add(options.out, line)


def show(options: argparse.Namespace) -> None:
    lines = results(options.out)
    columns = list(dict.fromkeys((line["network"], line["filters"]) for line in lines))
    faults = list(dict.fromkeys((line["fault"], line["severity"]) for line in lines))
    titles = {
        "accuracy": (100, 1, "Accuracy, %"),
        "first_right": (100, 1, "First decision right in a stream without marks, %"),
        "decided": (100, 1, "Recordings of that stream that are decided, %"),
        "false_a_minute": (1, 1, "Decisions a minute on the fault alone, with the fewest events"),
        "false_of_any_events": (1, 1, "Decisions a minute on the fault alone, of any events"),
    }
    for key, (times, digits, title) in titles.items():
        rows: list[list[object]] = []
        for fault in faults:
            row: list[object] = [fault[0], f"{fault[1]:g}"]
            for column in columns:
                found = [
                    times * line[key]
                    for line in lines
                    if (line["fault"], line["severity"]) == fault
                    and (line["network"], line["filters"]) == column
                    and key in line
                ]
                row.append(spread(found, digits) if found else None)
            if any(cell is not None for cell in row[2:]):
                rows.append(row)
        heads = [network if sets == OWN else f"{network}, {sets}" for network, sets in columns]
        table(f"{title}, mean and sd over seeds", ["fault", "severity", *heads], rows)


if __name__ == "__main__":
    train_and_show(parse(), measure_all, show)
