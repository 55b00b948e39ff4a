"""Events as lines of text on standard input, however the pipe is cut, and lines that are none."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.readers import stdin
from tmkt.readers.stdin import StdinSource

SENSOR = (100, 128)


def read(*blocks: bytes, **options: Any) -> tuple[Events, StdinSource]:
    """Read the events of a pipe that is written block by block, then closed."""
    with piped(lambda write: [write(block) for block in blocks], **options) as source:
        chunks = list(source)
    t, x, y, p = (np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in "txyp")
    return Events(t, x, y, p, SENSOR), source


class piped:
    def __init__(
        self, writer: Callable[[Callable[[bytes], object]], object], **options: Any
    ) -> None:
        out, into = os.pipe()
        self.file = os.fdopen(out, "rb")
        self.source = StdinSource(SENSOR, file=self.file, **options)
        self.thread = threading.Thread(target=self._run, args=(writer, into))

    def _run(self, writer: Any, into: int) -> None:
        with os.fdopen(into, "wb", buffering=0) as file:
            writer(file.write)

    def __enter__(self) -> StdinSource:
        self.thread.start()
        return self.source

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.thread.join(10)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, 60), max_size=8),
    st.sampled_from([",", ";", " ", "\t", ", "]),
    st.booleans(),
)
def test_lines_are_events_however_the_pipe_is_cut(
    seed: int, cuts: list[int], between: str, end: bool
) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 12))
    t, x, y, p = (
        np.cumsum(rng.integers(0, 10**6, n)),
        rng.integers(0, 128, n),
        rng.integers(0, 100, n),
        rng.integers(0, 2, n),
    )
    text = (
        "\n".join(between.join(map(str, row)) for row in zip(t, x, y, p, strict=True)).encode()
        + b"\n" * end
    )
    edges = [0, *np.minimum(np.cumsum(cuts), len(text)).tolist(), len(text)]
    got, source = read(*(text[a:b] for a, b in pairwise(edges)))
    for name, expected in (("t", t), ("x", x), ("y", y), ("p", p)):
        assert getattr(got, name).tolist() == expected.tolist()
    assert source.counters.dropped == 0


@pytest.fixture(params=[stdin.wait_by_select, stdin.wait_by_thread])
def _on_every_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read as on Linux and macOS, then as on Windows."""
    monkeypatch.setattr(stdin, "waits", request.param)


@pytest.mark.usefixtures("_on_every_system")
def test_names_state_the_order_and_comments_are_passed_over() -> None:
    got, _ = read(b"x,y,polarity,timestamp\n# camera 3\n5,6,1,1000\r\n% end\n\n7,8,0,1001\n")
    assert (got.t.tolist(), got.x.tolist(), got.y.tolist(), got.p.tolist()) == (
        [1000, 1001],
        [5, 7],
        [6, 8],
        [1, 0],
    )


def test_a_decimal_point_means_seconds_and_minus_one_means_off() -> None:
    got, _ = read(b"1600000000.123456999 1 2 1\n1600000000.5 3 4 -1\n1600000007. 5 6 1\n")
    assert got.t.tolist() == [1_600_000_000_123_457, 1_600_000_000_500_000, 1_600_000_007_000_000]
    assert got.p.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    "line",
    [
        b"1,2,3",
        b"1,2,3,1,9",
        b"1,2,x,1",
        b"one,2,3,1",
        b"1.5.2,2,3,1",
        b"9999999999999999999999,1,1,1",
    ],
)
def test_a_line_that_is_no_event_is_counted(line: bytes) -> None:
    got, source = read(b"1,2,3,1\n" + line + b"\n2,2,3,1\n", repair=True)
    assert got.t.tolist() == [1, 2]
    assert source.counters.bad_records == 1


def test_nonsense_is_refused_with_its_share_unless_it_is_to_be_repaired() -> None:
    text = b"1,2,3,1\n2,300,3,1\n3,2,3,5\n-1,1,1,1\n"
    with pytest.raises(
        InputError,
        match=(
            r"3 of 4 events dropped \(1 outside the sensor, 1 with a polarity above 1, 1 before"
            r" time 0\).*--sensor"
        ),
    ):
        read(text)
    assert read(text, repair=True)[0].t.tolist() == [1]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no events came; expected lines of text"),
        (b"\x1f\x8b\n" * 9, "9 lines dropped: 9 undecodable"),
        (bytes(range(1, 9)) * 1000, "bytes in one line"),
    ],
)
def test_what_is_no_text_of_events_is_said_in_one_line(data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        read(data)
    assert "\n" not in str(refused.value)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_end_in_possible_events_or_one_line(data: bytes) -> None:
    try:
        got, _ = read(b"1,127,99,1\n2,0,0,0\n" + data, repair=True)
    except InputError as error:
        said = str(error)
    else:
        said = ""
        assert got.x.max() == 127
        assert got.y.max() == 99
        assert got.p.max() == 1
    assert "\n" not in said


@pytest.mark.usefixtures("_on_every_system")
def test_a_line_is_given_while_the_pipe_is_still_open() -> None:
    go_on = threading.Event()

    def writer(write: Callable[[bytes], object]) -> None:
        write(b"1,2,3,1\n2,2,3,1\n")
        go_on.wait(10)

    with piped(writer) as source:
        chunks: Iterator[Events] = iter(source)
        assert next(chunks).t.tolist() == [1, 2]
        source.close()
        assert list(chunks) == []
        go_on.set()


@pytest.mark.usefixtures("_on_every_system")
def test_a_silent_pipe_ends_after_the_timeout() -> None:
    go_on = threading.Event()
    with piped(
        lambda write: (write(b"1,2,3,1\n2,2,3,1\n"), go_on.wait(10)), timeout_s=0.3
    ) as source:
        begin = time.monotonic()
        assert sum(map(len, source)) == 2
        assert time.monotonic() - begin >= 0.3
        go_on.set()
