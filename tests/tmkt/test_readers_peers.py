"""Our readers against others: aedat (AEDAT4), evt3 (EVT3) and evlib (EVT2, EVT3, AEDAT4, ECF).

`make test-evlib` installs evlib.
"""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import aedat
import evt3
import numpy as np
import pytest
from example_files import aedat4, random_events, rows, write_ecf, write_example

from tmkt.readers import open_events
from tmkt.readers.writers import write_events

EVLIB = os.environ.get("TMKT_EVLIB_PYTHON")
needs_evlib = pytest.mark.skipif(
    EVLIB is None, reason="evlib is not installed; run make test-evlib"
)
ASK_EVLIB = """
import json, sys, evlib
table = evlib.load_events(sys.argv[1], sort=False).collect()
polarity = [int(p > 0) for p in table["polarity"]]
t, x, y = table["t"].to_physical(), table["x"], table["y"]
print(json.dumps([t.to_list(), x.to_list(), y.to_list(), polarity]))
"""


def same_as_aedat(path: Path) -> int:
    theirs = [
        packet["events"]
        for packet in aedat.Decoder(path)
        if packet.get("stream_id") == 0 and "events" in packet
    ]
    ours = list(open_events(path))
    for key in ("t", "x", "y"):
        np.testing.assert_array_equal(
            np.concatenate([getattr(e, key) for e in ours]),
            np.concatenate([e[key] for e in theirs]),
        )
    np.testing.assert_array_equal(
        np.concatenate([e.p for e in ours]), np.concatenate([e["on"] for e in theirs])
    )
    return sum(map(len, ours))


@pytest.mark.parametrize("name", ["davis346_170ms", "vga_2700ms", "edge_single_timestamp"])
def test_aedat_reads_the_same_events_from_real_recordings(shared_data: Path, name: str) -> None:
    assert same_as_aedat(shared_data / f"recordings/{name}.aedat4") > 6000


@pytest.mark.parametrize("compression", range(5))
def test_aedat_reads_the_same_events_with_every_compression(
    tmp_path: Path, compression: int
) -> None:
    (tmp_path / "a.aedat4").write_bytes(
        aedat4(
            {0: [random_events(300), replace(random_events(10), t=np.arange(10) + 10**6)]},
            compression,
        )
    )
    assert same_as_aedat(tmp_path / "a.aedat4") == 310


def test_aedat_reads_the_same_events_from_what_we_write(tmp_path: Path) -> None:
    events = random_events(20_000, (480, 640))
    events = replace(events, t=events.t + 1_631_717_222_000_000)
    write_events([events, random_events(0)], tmp_path / "a.aedat4", "aedat4", events.sensor)
    assert same_as_aedat(tmp_path / "a.aedat4") == 20_000
    info = aedat.Decoder(tmp_path / "a.aedat4").id_to_stream()[0]
    assert (info["type"], info["width"], info["height"]) == ("events", 640, 480)


def same_as_evt3(path: Path) -> int:
    theirs = evt3.decode_file(str(path))
    ours = list(open_events(path))
    for key, other in (
        ("t", theirs.timestamp),
        ("x", theirs.x),
        ("y", theirs.y),
        ("p", theirs.polarity),
    ):
        np.testing.assert_array_equal(np.concatenate([getattr(e, key) for e in ours]), other)
    return sum(map(len, ours))


def test_evt3_reads_the_same_events_from_what_we_write(tmp_path: Path) -> None:
    events = random_events(5000, (720, 1280), step_us=3000)
    assert same_as_evt3(write_example("evt3", tmp_path / "a.raw", events)) == 5000


@pytest.mark.parametrize("seed", range(5))
def test_evt3_reads_the_same_events_from_vectors(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = []
    for high in range(3, 40):
        words += [8 << 12 | high]
        for low in np.sort(rng.integers(0, 4096, 6)).tolist():
            words += [
                6 << 12 | low,
                int(rng.integers(0, 720)),
                3 << 12 | int(rng.integers(0, 2)) << 11 | int(rng.integers(0, 1240)),
            ]
            words += [
                4 << 12 | int(rng.integers(0, 4096)),
                4 << 12 | int(rng.integers(0, 4096)),
                5 << 12 | int(rng.integers(0, 256)),
            ]
            words += [2 << 12 | int(rng.integers(0, 2)) << 11 | int(rng.integers(0, 1280))]
    (tmp_path / "a.raw").write_bytes(
        b"% evt 3.0\n% format EVT3;height=720;width=1280\n% end\n"
        + np.array(words, "<u2").tobytes()
    )
    assert same_as_evt3(tmp_path / "a.raw") > 2000


def same_as_evlib(path: Path) -> int:
    assert EVLIB is not None
    done = subprocess.run(
        [EVLIB, "-c", ASK_EVLIB, path], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    theirs = list(zip(*json.loads(done.stdout.splitlines()[-1]), strict=True))
    assert rows(open_events(path)) == theirs
    return len(theirs)


@pytest.mark.evlib
@needs_evlib
def test_evlib_reads_the_same_events_from_real_recordings(shared_data: Path) -> None:
    assert same_as_evlib(shared_data / "recordings/vga_evt2.raw") == 521_252
    assert same_as_evlib(shared_data / "recordings/vga_2700ms.aedat4") == 255_283


@pytest.mark.evlib
@needs_evlib
@pytest.mark.parametrize("format", ["evt2", "evt21", "evt3", "aedat4", "hdf5"])
def test_evlib_reads_the_same_events_from_what_we_write(tmp_path: Path, format: str) -> None:
    name = {"aedat4": "a.aedat4", "hdf5": "a.h5"}.get(format, "a.raw")
    assert same_as_evlib(write_example(format, tmp_path / name, random_events(3000))) == 3000


@pytest.mark.evlib
@needs_evlib
@pytest.mark.parametrize("mode", [0, 1, 2])
def test_evlib_reads_the_same_events_from_every_mode_of_ecf(tmp_path: Path, mode: int) -> None:
    # Stamps from 2^18 us on: evlib guesses where a chunk begins, and takes smaller ones for its
    # header.
    events = random_events(3333)
    write_ecf(tmp_path / "a.h5", replace(events, t=events.t + 10**6), chunk=1000, modes=(mode,))
    assert same_as_evlib(tmp_path / "a.h5") == 3333
