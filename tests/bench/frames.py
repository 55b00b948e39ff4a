"""From events to frames: ours against tonic's ToFrame, on real N-MNIST recordings already in memory, each in its own form."""

from collections.abc import Iterator

import numpy as np
from networks import DATA
from report import Comparison, Options, Table, alternate, main, ms

from tmkt import console
from tmkt.datasets.nmnist import SENSOR, find_recordings
from tmkt.frames import InputContract, events_to_frames
from tmkt.recordings import read_bin

RECORDINGS, ROUNDS = 100, 7
BINS, BIN_US = 10, 31_600  # the N-MNIST recipe's


def benchmark(options: Options) -> Iterator[Table]:  # noqa: ARG001
    try:
        from tonic.transforms import ToFrame
    except ModuleNotFoundError:
        console.note("tonic is not installed: frames are left out")
        return
    if not DATA.is_dir():
        console.note(f"no recordings at {DATA}: frames are left out")
        return
    recordings = [read_bin(recording.path, SENSOR) for recording in find_recordings(DATA)[:RECORDINGS]]
    contract = InputContract(SENSOR, BINS, BIN_US, max_count=255)
    height, width = SENSOR
    tonic_events = []
    for events in recordings:
        array = np.empty(len(events), [("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", bool)])  # as tonic's own readers give them
        array["x"], array["y"], array["t"], array["p"] = events.x, events.y, events.t, events.p
        tonic_events.append(array)
    to_frame = ToFrame(sensor_size=(width, height, 2), time_window=BIN_US, include_incomplete=True)
    events = sum(len(recording) for recording in recordings)
    for ours, theirs in zip(recordings, tonic_events, strict=True):
        found, expected = events_to_frames(ours, contract), to_frame(theirs)  # tonic gives no frames after the last event
        np.testing.assert_array_equal(found[: len(expected)], expected)
        assert not found[len(expected) :].any()
    runs = {
        "ours": lambda: [events_to_frames(recording, contract) for recording in recordings],
        "tonic": lambda: [to_frame(array) for array in tonic_events],
    }
    seconds = {name: s / RECORDINGS for name, s in alternate(runs, ROUNDS).items()}
    rows = [[name, ms(s), f"{events / RECORDINGS / s / 1e6:.1f}"] for name, s in seconds.items()]
    yield Table(
        f"Events to frames, {RECORDINGS} N-MNIST recordings, {BINS} bins of {BIN_US} us",
        ["", "ms a recording", "M events a second"],
        rows,
        [Comparison("frames/ours-vs-tonic", seconds["ours"], seconds["tonic"])],
        [f"one thread; {events / RECORDINGS:.0f} events a recording; both give the same frames"],
    )


if __name__ == "__main__":
    main(benchmark)
