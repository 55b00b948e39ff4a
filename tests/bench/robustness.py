"""Accuracy and false decisions under labelled faults of the sensor, with and without filters.

python tests/bench/robustness.py bundles/nmnist --data ../shared/data/nmnist --out
runs/robustness; python tests/bench/robustness.py bundles/nmnist --out runs/robustness --table

Accuracy: N-MNIST recordings that were not trained on, the same faults for all sets of filters.
False decisions: SECONDS of the fault alone, as tmkt stream decides, with the fewest events that it
chooses for itself. What is in results.jsonl is not measured again.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from faults import FAULTS, Fault
from lines import add, results, train_and_show

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
SETS = {
    "no filter": "",
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
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder of N-MNIST")
    parser.add_argument("--recordings", type=int, default=500)
    parser.add_argument("--table", action="store_true", help="measure nothing, show what OUT holds")
    options = parser.parse_args()
    if not options.table and options.data is None:
        parser.error("--data is needed to measure")
    return options


def filtered(events: Events, texts: str) -> Events:
    return FilterChain([parse_filter(text) for text in texts.split()], events.sensor).apply(events)


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
        frames.append(events_to_frames(events, bundle.contract))
        labels.append(recording.label if len(events) else -1)
    found = Simulator(bundle.program, 1).run(np.stack(frames)).readout.argmax(1)
    return float((found == np.array(labels)).mean())


def false_decisions(
    bundle: Bundle, fault: Fault, severity: float, filters: str, least: int
) -> float:
    """Decisions a minute on the fault alone."""
    sensor = bundle.contract.sensor
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
    chosen = [(one, read_bin(one.path, bundle.contract.sensor)) for one in recordings]
    train = recordings_of(bundle.manifest, options.data, "train", None)
    trained, _ = load_frames(train, bundle.contract)
    least = choose_min_events(trained)
    known = {(line["fault"], line["severity"], line["filters"]) for line in results(options.out)}
    wanted = [(CLEAN, 0.0, None)]
    wanted += [(name, level, fault) for name, (fault, levels) in FAULTS.items() for level in levels]
    for name, level, fault in wanted:
        for label, texts in SETS.items():
            if (name, level, label) in known:
                continue
            line: dict[str, Any] = {"fault": name, "severity": level, "filters": label}
            line["recordings"], line["min_events"] = len(chosen), least
            line["accuracy"] = accuracy(bundle, chosen, fault, level, texts)
            if fault is not None and name in NOISES:
                line["false_a_minute"] = false_decisions(bundle, fault, level, texts, least)
            add(options.out, line)


def show(options: argparse.Namespace) -> None:
    lines = results(options.out)
    rows = []
    for name, level in dict.fromkeys((line["fault"], line["severity"]) for line in lines):
        own = {
            line["filters"]: line
            for line in lines
            if (line["fault"], line["severity"]) == (name, level)
        }
        row: list[object] = [name, f"{level:g}"]
        for label in SETS:
            found = own.get(label)
            row.append(f"{100 * found['accuracy']:.1f}" if found else None)
        for label in SETS:
            found = own.get(label, {})
            row.append(f"{found['false_a_minute']:.0f}" if "false_a_minute" in found else None)
        rows.append(row)
    columns = [*(f"{label}, %" for label in SETS), *(f"{label}, false a minute" for label in SETS)]
    table("Accuracy, and decisions on the fault alone", ["fault", "severity", *columns], rows)


if __name__ == "__main__":
    train_and_show(parse(), measure_all, show)
