"""From events to frames: ours against tonic's ToFrame, events already in memory, each in its own
form: real recordings, and uniform random events (the worst for caches) on sensors of three sizes.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from networks import DATA
from report import Comparison, Options, Table, alternate, main, ms

from tmkt import console
from tmkt.datasets.nmnist import SENSOR, find_recordings
from tmkt.events.frames import InputContract, events_to_frames
from tmkt.events.types import Events
from tmkt.readers.atis import read_bin

RECORDINGS, ROUNDS = 100, 7
NMNIST = InputContract(SENSOR, bins=10, bin_us=31_600, max_count=255)  # the N-MNIST recipe's
RANDOM_EVENTS = 2_000_000
QUICK_EVENTS = 100_000
SENSORS = ((34, 34), (128, 128), (480, 640))


def benchmark(options: Options) -> Iterator[Table]:
    try:
        import tonic  # noqa: F401
    except ModuleNotFoundError:
        console.note("tonic is not installed: frames are left out")
        return
    count = QUICK_EVENTS if options.quick else RANDOM_EVENTS
    contests = [
        (_random(sensor, count), InputContract(sensor, 10, 100_000, 255)) for sensor in SENSORS
    ]
    names = [f"frames-{height}x{width}" for height, width in SENSORS]
    shown = [f"{count / 1e6:g} M random events, {height} x {width}" for height, width in SENSORS]
    if DATA.is_dir():
        contests.insert(
            0,
            (
                [
                    read_bin(recording.path, SENSOR)
                    for recording in find_recordings(DATA)[:RECORDINGS]
                ],
                NMNIST,
            ),
        )
        names.insert(0, "frames")
        shown.insert(0, f"{RECORDINGS} N-MNIST recordings")
    else:
        console.note(f"no recordings at {DATA}: left out")
    rows, comparisons = [], []
    for name, what, (recordings, contract) in zip(names, shown, contests, strict=True):
        rounds = 1 if options.quick else ROUNDS
        comparison = _compare(f"{name}/ours-vs-tonic", recordings, contract, rounds)
        comparisons.append(comparison)
        events = sum(len(recording) for recording in recordings)
        speeds = [
            f"{events / len(recordings) / s / 1e6:.0f}"
            for s in (comparison.ours_s, comparison.theirs_s)
        ]
        rows.append(
            [
                what,
                ms(comparison.ours_s),
                ms(comparison.theirs_s),
                *speeds,
                f"{comparison.ratio:.1f}",
            ]
        )
    columns = [
        "events",
        "ours, ms a recording",
        "tonic, ms",
        "ours, M events/s",
        "tonic, M events/s",
        "times as fast",
    ]
    yield Table(
        "Events to frames, 10 bins",
        columns,
        rows,
        comparisons,
        ["one thread; both give the same frames"],
    )


def _random(sensor: tuple[int, int], count: int) -> list[Events]:
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, 1_000_000, count))
    t[0] = 0  # bins begin at the first event
    x, y = (rng.integers(0, size, count, np.uint16) for size in reversed(sensor))
    return [Events(t, x, y, rng.integers(0, 2, count, np.uint8), sensor)]


def _compare(
    name: str, recordings: Sequence[Events], contract: InputContract, rounds: int
) -> Comparison:
    """Seconds a recording, after both were seen to give the same frames."""
    from tonic.transforms import ToFrame

    height, width = contract.sensor
    to_frame = ToFrame(
        sensor_size=(width, height, 2), time_window=contract.bin_us, include_incomplete=True
    )
    theirs = [_as_tonic(events) for events in recordings]
    for events, array in zip(recordings, theirs, strict=True):
        found, expected = (
            events_to_frames(events, contract),
            to_frame(array),
        )  # tonic gives no frames after the last event
        np.testing.assert_array_equal(found[: len(expected)], expected)
        assert not found[len(expected) :].any()
    runs = {
        "ours": lambda: [events_to_frames(events, contract) for events in recordings],
        "tonic": lambda: [to_frame(array) for array in theirs],
    }
    seconds = alternate(runs, rounds)
    return Comparison(name, seconds["ours"] / len(recordings), seconds["tonic"] / len(recordings))


def _as_tonic(events: Events) -> Any:
    array = np.empty(
        len(events), [("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", bool)]
    )  # as tonic's own readers give them
    array["x"], array["y"], array["t"], array["p"] = events.x, events.y, events.t, events.p
    return array


if __name__ == "__main__":
    main(benchmark)
