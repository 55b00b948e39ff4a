"""Memory of a long stream, which must stay flat.

Synthetic `.bin` records without end go through the reader, its check, the bins, a small network and
the costs of its answers, all in a process of its own. An hour of stream is 10^9 events (`--long`);
`make bench` runs a tenth of it.
"""

import io
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report import Options, Table, main

from tmkt.bundle import Bundle
from tmkt.deploy.stream.rule import Rule
from tmkt.deploy.stream.run import Settings, Stream
from tmkt.events.frames import InputContract
from tmkt.events.types import Events
from tmkt.program.model import Layer, Program, Synapse
from tmkt.readers.atis import RECORD, STAMP_US, open_atis
from tmkt.readers.files import FileSource, Input
from tmkt.readers.files import Options as ReaderOptions
from tmkt.readers.source import Counters

SENSOR = (32, 32)
RATE = 277_778  # events a second: 10^9 in an hour
BIN_US, BINS = 10_000, 100  # an answer a second
EVENTS, LONG, QUICK = 100_000_000, 1_000_000_000, 10_000_000
POINTS = 10
MOST_GROWN = (
    8 << 20
)  # bytes between the first point and the last: the noise of an allocator, not 8 bytes an event


def benchmark(options: Options) -> Iterator[Table]:
    events = LONG if options.long else QUICK if options.quick else EVENTS
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        points, report = pool.apply(measure, (events,))
    rows = [
        [
            f"{p.events / 1e6:,.0f} M",
            f"{p.stream_s:,.0f}",
            f"{p.resident / 2**20:.1f}",
            f"{p.peak / 2**20:.1f}",
            f"{p.elapsed_s:.0f}",
        ]
        for p in points
    ]
    grown = points[-1].resident - points[0].resident
    notes = [
        f"{grown / 2**20:+.1f} MB from the first point to the last; {report['steps']:,} steps,"
        f" {report['answers']:,} answers, {report['events'] / points[-1].elapsed_s / 1e6:.1f} M"
        " events/s in all"
    ]
    yield Table(
        "Memory of a stream",
        ["events", "s of stream", "MB resident", "MB at the peak so far", "s on this host"],
        rows,
        notes=notes,
    )
    if grown > MOST_GROWN:
        raise SystemExit(
            f"stream memory: grew by {grown} bytes over {events} events, expected at most"
            f" {MOST_GROWN}"
        )


@dataclass(frozen=True)
class Point:
    """A place in the stream, and the process's memory there in bytes."""

    events: int
    stream_s: float
    resident: int
    peak: int
    elapsed_s: float


def measure(events: int) -> tuple[list[Point], dict[str, Any]]:
    """Run a stream of so many events; return its memory at evenly spread points, and its report."""
    source = FileSource("atis", *_opened(events))
    stream = Stream(
        small_bundle(), SENSOR, Settings(rule=Rule(margin=0.0, hold=BINS, min_events=100))
    )
    points: list[Point] = []
    begin = time.perf_counter()

    def watched() -> Iterator[Events]:
        seen = 0
        for chunk in source:
            yield chunk
            seen += len(chunk)
            if seen * POINTS >= events * (len(points) + 1):
                resident, peak = _memory()
                points.append(Point(seen, seen / RATE, resident, peak, time.perf_counter() - begin))

    for decision in stream.decisions(watched()):
        decision.to_json()
    return points, stream.report()


class Endless(io.RawIOBase):
    """One turn of the sensor's 23-bit clock (8.4 s) of random events, again and again, as a file of
    so many records.
    """

    def __init__(self, records: int) -> None:
        rng = np.random.default_rng(0)
        n = RATE * STAMP_US // 1_000_000
        t = np.sort(rng.integers(0, STAMP_US, n))
        data = np.empty((n, RECORD), np.uint8)
        data[:, 0], data[:, 1] = rng.integers(0, SENSOR[1], n), rng.integers(0, SENSOR[0], n)
        data[:, 2] = rng.integers(0, 2, n) << 7 | t >> 16
        data[:, 3], data[:, 4] = t >> 8 & 255, t & 255
        self._turn, self._at, self._left = memoryview(data.reshape(-1)), 0, records * RECORD

    def readinto(self, into: Any) -> int:
        n = min(len(into), len(self._turn) - self._at, self._left)
        into[:n] = self._turn[self._at : self._at + n]
        self._at = (self._at + n) % len(self._turn)
        self._left -= n
        return n


def _opened(events: int) -> tuple[Any, Input, Any]:
    source = Input(Endless(events), "synthetic.bin", ReaderOptions(sensor=SENSOR), Counters())  # type: ignore[arg-type]
    return open_atis(source), source, "drop"


def small_bundle() -> Bundle:
    """16 channels of 3 x 3, every second pixel, and a read-out of 4 classes; random weights. It
    lies nowhere: only what runs it needs is there.
    """
    rng = np.random.default_rng(0)

    def even(*shape: int) -> NDArray[np.int16]:
        return (2 * rng.integers(-60, 61, shape)).astype(np.int16)

    conv = Synapse("input", "conv", even(16, 2, 3, 3), stride=(2, 2), padding=(1, 1))
    hidden = Layer(
        "hidden", (16, 16, 16), (conv,), np.zeros(16, np.int32), threshold=200, voltage_decay=2048
    )
    dense = Synapse("hidden", "dense", even(4, 16 * 16 * 16), pool=1)
    readout = Layer(
        "readout",
        (4,),
        (dense,),
        np.zeros(4, np.int32),
        threshold=131071,
        voltage_decay=0,
        fires=False,
    )
    program = Program((2, *SENSOR), 1, (hidden, readout), "membrane")
    return Bundle(
        Path("small"), {"classes": list("abcd")}, InputContract(SENSOR, BINS, BIN_US, 1), program
    )


def _memory() -> tuple[int, int]:
    """Return bytes: resident now, and the most so far (Linux alone tells)."""
    kb = {
        line.split(":")[0]: int(line.split()[1])
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith(("VmRSS", "VmHWM"))
    }
    return kb["VmRSS"] << 10, kb["VmHWM"] << 10


if __name__ == "__main__":
    main(benchmark)
