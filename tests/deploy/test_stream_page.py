"""Tests of a stream's page: its data, and what a browser shows."""

import json
import re
import subprocess
import zlib
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import OPTIONS, chromium
from example_bundles import SHAPE, example_parts, write_example
from example_streams import cut, make_events
from numpy.typing import NDArray

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.deploy.stream import page as pages
from tmkt.deploy.stream.decision import Decision
from tmkt.deploy.stream.page import ARRAYS, Page, choose_layer
from tmkt.deploy.stream.rule import Rule
from tmkt.deploy.stream.run import Settings, Stream
from tmkt.errors import InputError
from tmkt.events.types import Events

SENSOR, BIN_US = SHAPE[1:], 1000
KINDS = {"t": np.uint32, "x": np.uint16, "y": np.uint16, "p": np.uint8, "spikes": np.uint8}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_example(
        tmp_path_factory.mktemp("page") / "a <b>", example_parts(), files=[bundles.ONNX]
    )


def make(
    bundle: Bundle, path: Path, chunks: list[Events], layer: str | None = None, **options: Any
) -> list[Decision]:
    stream = Stream(bundle, chunks[0].sensor, Settings(device=None, **options))
    page, found = Page(stream, choose_layer(bundle.program, layer)), []
    for decision in stream.decisions(page.watch(chunks)):
        page.add(decision)
        found.append(decision)
    page.write(path, "</script> camera")
    return found


def read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read the data of a page, and its arrays."""
    (text,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>',
        path.read_text(encoding="utf-8"),
        re.S,
    )
    data = json.loads(text)
    return data, {
        name: np.frombuffer(zlib.decompress(b64decode(data["arrays"][name])), KINDS[name])
        for name in ARRAYS
    }


def test_a_page_holds_every_event_and_decision(bundle: Bundle, tmp_path: Path) -> None:
    events = make_events(0, SENSOR, [0, 5_000, 0])
    found = make(bundle, tmp_path / "p.html", cut(events, [70, 200, 201]), rule=Rule(0.5))
    data, arrays = read(tmp_path / "p.html")
    np.testing.assert_array_equal(np.cumsum(arrays["t"], dtype=np.int64), events.t - events.t[0])
    for name in "xyp":
        np.testing.assert_array_equal(arrays[name], getattr(events, name))
    assert [d["time_us"] for d in data["decisions"]] == [
        d.time_us - int(events.t[0]) for d in found
    ]
    assert [d["decided"] for d in data["decisions"]] == [d.decided is not None for d in found]
    assert data["cut"] == ""


def test_spikes_are_those_of_the_layer_and_the_bin(bundle: Bundle, tmp_path: Path) -> None:
    name = [layer.name for layer in bundle.program.layers if layer.fires][-1]
    found = make(bundle, tmp_path / "p.html", [make_events(0, SENSOR, [900, 0])], name, stride=2)
    data, arrays = read(tmp_path / "p.html")
    packed = arrays["spikes"].reshape(len(data["step_bins"]), -1)
    rows = iter(zip(data["step_bins"], packed, strict=True))
    for decision in found:
        for index, expected in zip(
            range(decision.answer.begin, decision.answer.last + 1),
            decision.answer.spikes[name],
            strict=True,
        ):
            bin_, row = next(rows)
            assert bin_ == index
            np.testing.assert_array_equal(np.unpackbits(row)[: expected.size], expected.reshape(-1))


def test_the_same_stream_gives_the_same_page_whatever_the_chunks(
    bundle: Bundle, tmp_path: Path
) -> None:
    events = make_events(3, SENSOR, [900, 0])
    make(bundle, tmp_path / "a.html", [events])
    make(bundle, tmp_path / "b.html", cut(events, [1, 100, 333]))
    (a, arrays), (b, others) = read(tmp_path / "a.html"), read(tmp_path / "b.html")
    assert {**a, "arrays": 0} == {**b, "arrays": 0}
    for name in ARRAYS:
        np.testing.assert_array_equal(arrays[name], others[name])


def test_a_long_stream_fills_the_page_and_no_more(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_PACKED", 100_000)
    events = make_events(0, SENSOR, [0] * 5, burst=20_000)
    found = make(bundle, tmp_path / "p.html", cut(events, list(range(5_000, 100_000, 5_000))))
    data, arrays = read(tmp_path / "p.html")
    assert 0 < len(arrays["t"]) < len(events)
    assert 0 < len(data["decisions"]) < len(found)
    assert f"the first {len(arrays['t']):,} events" in data["cut"]
    assert sum(len(text) for text in data["arrays"].values()) < 1.5 * 4 / 3 * 100_000


def test_the_largest_page_is_below_5_mb() -> None:
    assert pages.MOST_PACKED * 4 / 3 + pages.MOST_DECISIONS * 120 + pages.MOST_STEPS * 8 < 5_000_000


def test_a_layer_without_spikes_is_refused(bundle: Bundle) -> None:
    last = bundle.program.layers[-1].name
    assert choose_layer(bundle.program, None).name == bundle.program.layers[0].name
    with pytest.raises(InputError, match=f"layer '{last}': has no spikes to show"):
        choose_layer(bundle.program, last)


def shown(path: Path, at_s: float) -> str:
    """Return the page's document after a browser has run it, at a time of the stream."""
    options = [
        "--headless",
        *OPTIONS,
        "--virtual-time-budget=3000",
        "--enable-logging=stderr",
        "--dump-dom",
    ]
    done = subprocess.run(
        [chromium(), *options, f"{path.as_uri()}#t={at_s}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout


def test_at_a_decision_the_page_shows_the_spikes_of_the_bin_that_decided(
    bundle: Bundle, tmp_path: Path
) -> None:
    events = make_events(0, SENSOR, [0, 5_000, 0], burst=400)
    found = make(bundle, tmp_path / "p.html", [events])
    document = shown(tmp_path / "p.html", (found[1].time_us - int(events.t[0])) / 1e6)
    spikes = found[1].answer.spikes[bundle.program.layers[0].name][-1]
    assert f'data-spikes="{np.count_nonzero(spikes)}"' in document


def test_a_browser_shows_events_spikes_and_decision_of_a_time(
    bundle: Bundle, tmp_path: Path
) -> None:
    events = make_events(0, SENSOR, [0, 5_000, 0], burst=400)
    found = make(bundle, tmp_path / "p.html", [events])
    at = found[1].time_us - BIN_US // 2 - int(events.t[0])
    document = shown(tmp_path / "p.html", at / 1e6)
    now = events.t - events.t[0]
    assert 'data-ready="yes"' in document
    assert f'data-events="{np.count_nonzero((now > at - BIN_US) & (now <= at))}"' in document
    spikes = found[1].answer.spikes[bundle.program.layers[0].name][-1]
    assert f'data-spikes="{np.count_nonzero(spikes)}"' in document
    assert (
        f"decided for class {found[0].best} at {(found[0].time_us - events.t[0]) / 1e6:.3f} s"
        in document
    )
    assert document.count("<tr>") == 1 + len(found)
    assert "a &lt;b&gt; on &lt;/script&gt; camera" in document
