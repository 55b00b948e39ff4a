"""Speed of `tmkt stream`: from memory, from a file, and live over UDP."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from report import Table
from stream_data import KnownStream

from tmkt.bundle import Bundle
from tmkt.datasets.nmnist import SENSOR
from tmkt.deploy.stream.run import Settings, Stream
from tmkt.events.types import Events
from tmkt.readers import open_events
from tmkt.readers.udp import UdpSource

ROUNDS = 3
LATENCIES = ("ms p50", "p95", "p99", "max", "answers")
Column = list[object]


def measure_speed(bundle: Bundle, free: KnownStream, recordings: Path) -> Table:
    """Measure rates of process time, each the best of ROUNDS.

    Latencies are wall time, of the round that was least disturbed (by p99).
    """
    cases: list[tuple[str, tuple[int, int], dict[str, Any], Callable[[], Iterable[Events]]]] = [
        ("windows one after another", SENSOR, {}, free.chunks),
        ("the same, ONNX Runtime", SENSOR, {"engine": "onnx"}, free.chunks),
        ("the same, with costs on loihi1", SENSOR, {"device": "loihi1"}, free.chunks),
        ("windows every 2 bins", SENSOR, {"stride": 2}, free.chunks),
        ("carried state, an answer a bin", SENSOR, {"state": "carry"}, free.chunks),
    ]
    for name, sensor in (
        ("dvsgesture/7.bin", (128, 128)),
        ("recordings/vga_evt2.raw", (480, 640)),
        ("recordings/vga_2700ms.aedat4", (480, 640)),
    ):
        opened = partial(open_events, recordings / name, sensor=sensor)
        cases.append((f"file {name}, sensor {sensor[1]} x {sensor[0]}", sensor, {}, opened))
    rows: list[Column] = []
    for what, sensor, settings, chunks in cases:
        rounds = [
            _run(Stream(bundle, sensor, Settings(**{"device": None, **settings})), chunks())
            for _ in range(ROUNDS)
        ]
        seconds = min(found["process_s"] for found in rounds)
        best = min(rounds, key=lambda found: found["p99"])
        rows.append(
            [
                what,
                f"{best['events'] / seconds:,.0f}",
                f"{best['duration_s'] / seconds:.1f}",
                *_latencies(best),
            ]
        )
    return Table(
        "Speed from memory or a file, one thread",
        ["stream", "events/s", "times real time", *LATENCIES],
        rows,
    )


def _run(stream: Stream, chunks: Iterable[Events]) -> dict[str, Any]:
    begin = process_time()
    answers = sum(1 for _ in stream.decisions(chunks))
    process_s = process_time() - begin
    report = stream.report()
    found = {name: report[name] for name in ("events", "duration_s")} | {
        name: us / 1e3 for name, us in report["times"]["host_us"].items()
    }
    return found | {"process_s": process_s, "answers": answers}


def _latencies(found: dict[str, Any]) -> Column:
    return [f"{found[name]:.2f}" for name in ("p50", "p95", "p99", "max")] + [found["answers"]]


def measure_live(bundle: Bundle, free: KnownStream, seconds: float) -> Table:
    """Measure latencies over UDP; a process of its own sends in real time."""
    n = int(np.searchsorted(free.events.t, seconds * 1e6))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.npz"
        np.savez(path, **{name: getattr(free.events, name)[:n] for name in "txyp"})
        for what, settings in (
            ("windows one after another", {}),
            ("carried state, an answer a bin, no costs", {"state": "carry", "device": None}),
        ):
            source = UdpSource("udp://127.0.0.1:0", SENSOR, timeout_s=5)
            stream = Stream(bundle, SENSOR, Settings(live=True, **settings))  # type: ignore[arg-type]
            command = [
                sys.executable,
                "-m",
                "tmkt",
                "data",
                "send",
                str(path),
                source.address,
                "--sensor",
                f"{SENSOR[1]}x{SENSOR[0]}",
            ]
            with subprocess.Popen(command) as sender:
                rows.append(
                    [
                        what,
                        *_latencies(_run(stream, source)),
                        source.counters.lost_events,
                        f"{source.counters.events:,} of {n:,}",
                    ]
                )
                sender.wait()
    return Table(
        f"Live over UDP on this host, {seconds:g} s in real time, windows with costs on loihi1",
        ["stream", *LATENCIES, "events lost", "events"],
        rows,
    )
