"""The share of recordings that lies behind the last bin."""

from pathlib import Path

import numpy as np
import pytest
from example_recordings import write_recordings

from tmkt.datasets import cache
from tmkt.datasets.decoded import decoded_frames, input_contract
from tmkt.datasets.reading import load_binned
from tmkt.datasets.types import Recording
from tmkt.events.coverage import Coverage, Extent, ExtentMeter, coverage_of, describe_cut
from tmkt.events.frames import InputContract
from tmkt.events.types import Events, View
from tmkt.recipe import DataRecipe

OPTIONS = ("--bins ", "--bin-us ")


def events_at(*times: int) -> Events:
    t = np.array(times, np.int64)
    x, p = np.zeros(len(t), np.uint16), np.zeros(len(t), np.uint8)
    return Events(t, x, x.copy(), p, (1, 1))


def test_events_behind_the_last_bin_are_counted_whatever_the_chunks() -> None:
    contract = InputContract((1, 1), 10, 500, 1)
    times = [7, 8, 5006, 5007, 9000, 20_007]
    for cut in range(len(times) + 1):
        meter = ExtentMeter(contract)
        parts = [events_at(*times[:cut]), events_at(*times[cut:])]
        assert list(meter.watch(parts)) == parts
        assert meter.extent == Extent(events=6, cut=3, duration_us=20_000)
    assert ExtentMeter(contract).extent == Extent(0, 0, 0)


def test_shares_are_of_the_median_and_of_the_worst_recording() -> None:
    extents = [Extent(10, 0, 4000), Extent(10, 1, 6250), Extent(10, 8, 20_000)]
    found = coverage_of(extents, InputContract((1, 1), 10, 500, 1))
    assert found == Coverage(3, 0.1, 0.8, pytest.approx(0.2), 0.75, 20_000)


def test_a_line_says_what_is_cut_and_what_would_cover_it() -> None:
    def line(*extents: Extent, bins: int = 10, bin_us: int = 500) -> str | None:
        contract = InputContract((1, 1), bins, bin_us, 1)
        return describe_cut(coverage_of(extents, contract), bins, bin_us, *OPTIONS)

    assert line(Extent(10, 0, 4999)) is None
    assert line(Extent(100, 97, 199_900)) == (
        "warning: the bins leave out 97.0 % of the events and 97.5 % of the time of a recording"
        " (median; at worst 97.0 % and 97.5 %): 10 bins of 500 us are 0.005 s, the longest of 1"
        " recordings is 0.2 s; --bins 400 or --bin-us 20000 would cover all"
    )
    slight = line(Extent(100, 4, 5100))
    assert slight is not None
    assert slight.startswith("the bins leave out 4.0 %")
    hour = line(Extent(100, 4, 3_600_000_000))
    assert hour is not None
    assert hour.endswith("s; --bin-us 361000000 would cover all")


@pytest.mark.parametrize("duration", [1, 4999, 5000, 5001, 123_456, 999_999, 10**7])
def test_what_is_proposed_covers_all(duration: int) -> None:
    for bins, bin_us in ((10, 500), (1, 5), (7, 333)):
        contract = InputContract((1, 1), bins, bin_us, 1)
        line = describe_cut(coverage_of([Extent(2, 1, duration)], contract), bins, bin_us, *OPTIONS)
        assert line is not None
        words = line.split()
        assert bins * int(words[words.index("--bin-us") + 1]) > duration
        if "--bins" in words:
            assert int(words[words.index("--bins") + 1]) * bin_us > duration


@pytest.fixture
def recordings(tmp_path: Path) -> list[Recording]:
    """Two recordings of 4 events, a millisecond apart."""
    frames = np.ones((2, 4, 1, 1, 1), np.uint8)
    found = write_recordings(tmp_path / "data", np.repeat(frames, 2, 2), 1000, 2)
    return [Recording(r.path, r.label, r.instance, View((34, 34))) for r in found]


def test_it_is_measured_where_recordings_are_read(recordings: list[Recording]) -> None:
    binned = load_binned(recordings, InputContract((34, 34), 3, 1000, 1))
    assert binned.extents == [Extent(8, 2, 3000)] * 2
    assert binned.frames.shape == (2, 3, 2, 34, 34)


def test_the_cache_keeps_it(
    recordings: list[Recording], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "WORTH_BYTES", 0)
    data = DataRecipe(name="nmnist", bins=3, bin_us=1000)
    read: list[int] = []
    for _ in range(2):
        contract = input_contract(data, recordings)
        frames, coverage = decoded_frames(recordings, data, contract, read.append)
        assert coverage == Coverage(2, 0.25, 0.25, 0.0, 0.0, 3000)
        np.testing.assert_array_equal(frames, load_binned(recordings, contract).frames)
    assert read == [1, 2]
