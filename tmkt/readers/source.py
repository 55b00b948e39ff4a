"""The interface of event sources: a file, a socket or a pipe gives checked chunks in order."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.types import Events

Disorder = Literal["drop", "clamp", "fail"]  # what happens to stamps that go back
MAX_DROPPED = 0.01  # the share of events beyond which a source counts as damaged; our choice
# pixels; a size beyond it is damage: no event camera has it, and memory is allocated by it
LARGEST_SIDE = 4096
SIZE = re.compile(r"([0-9]{1,9})x([0-9]{1,9})")


class Raw(NamedTuple):
    """Events as decoded, not yet checked: columns of one length."""

    t: NDArray[np.int64]
    x: NDArray[np.uint16]
    y: NDArray[np.uint16]
    p: NDArray[np.uint8]

    @classmethod
    def empty(cls, n: int) -> "Raw":
        """Allocate columns for n events, to be filled."""
        return cls(
            np.empty(n, np.int64),
            np.empty(n, np.uint16),
            np.empty(n, np.uint16),
            np.empty(n, np.uint8),
        )

    def part(self, begin: int, end: int) -> "Raw":
        """Give the events from `begin` to `end` as views."""
        return Raw(self.t[begin:end], self.x[begin:end], self.y[begin:end], self.p[begin:end])

    def first(self, n: int) -> "Raw":
        """Give the first n events as views."""
        return self.part(0, n)


@dataclass
class Counters:
    """Counts of delivered, repaired and dropped events; docs/streams-reference.md has the rules."""

    events: int = 0  # delivered
    outside_sensor: int = 0
    bad_polarity: int = 0
    negative_time: int = 0
    backward: int = 0  # stamps before that of the event before
    clamped: int = 0  # those of them that were kept, with the stamp of the event before
    largest_backward_us: int = 0
    outliers: int = 0  # stamps more than 10 s ahead that the next event does not confirm
    gaps: int = 0  # more than 10 s without an event; nothing is dropped
    wraps: int = 0  # the sensor's clock ran over and was continued; nothing is dropped
    bad_records: int = 0  # records that mean nothing, and events before the first full time stamp
    left_over_bytes: int = 0  # at the end of a file: less than a record

    @property
    def dropped(self) -> int:
        """Number of events (and records that may have been events) that were not delivered."""
        bad = (
            self.outside_sensor
            + self.bad_polarity
            + self.negative_time
            + self.outliers
            + self.bad_records
        )
        return bad + self.backward - self.clamped

    def to_json(self) -> dict[str, int]:
        """Give all counters and `dropped` by name."""
        return asdict(self) | {"dropped": self.dropped}

    def require_sound(self, name: str) -> None:
        """Raise InputError if more than 1 % of the events were dropped."""
        total = self.events + self.dropped
        if self.dropped > MAX_DROPPED * total:
            advice = f"{self.advice()}, " if self.advice() else ""
            raise InputError(
                f"{name}: {self.dropped} of {total} events dropped ({self.reasons()}), expected at"
                f" most {100 * MAX_DROPPED:g} %; {advice}fetch the file again, or take what"
                " is left with --repair"
            )

    def advice(self) -> str:
        """Name the option to check; "" where none can be the cause of what was dropped."""
        others = (self.bad_polarity, self.negative_time, self.backward - self.clamped)
        if self.outside_sensor and self.outside_sensor >= max(
            *others, self.outliers, self.bad_records
        ):
            return "check --sensor"
        return ""

    def reasons(self) -> str:
        """Name the counters above zero, as in "3 outside the sensor, 1 backward in time"."""
        said = {
            "outside the sensor": self.outside_sensor,
            "with a polarity above 1": self.bad_polarity,
            "before time 0": self.negative_time,
            "backward in time": self.backward - self.clamped,
            "far ahead in time": self.outliers,
            "undecodable": self.bad_records,
        }
        return ", ".join(f"{n} {why}" for why, n in said.items() if n)


class Source(Protocol):
    """A stream of checked events: iterate once, then close."""

    name: str  # path or address, for messages
    sensor: tuple[int, int] | None  # (height, width); None: the source does not say

    @property
    def counters(self) -> Counters:
        """Counts of events delivered and dropped so far; live sources count more."""
        ...

    def __iter__(self) -> Iterator[Events]:
        """Give checked chunks in order, in bounded memory.

        `t` is the source's own time, not shifted to 0, and never goes back. Raises InputError for
        damage that cannot be repaired, and at the end if nothing came.
        """
        ...

    def close(self) -> None:
        """Release the file or socket."""
        ...


def parse_sensor(text: str) -> tuple[int, int]:
    """Parse "WIDTHxHEIGHT", as cameras are named, into (height, width): "640x480" is (480, 640).

    Raises InputError for anything else.
    """
    found = SIZE.fullmatch(text.lower())
    if found is None:
        raise InputError(
            f"--sensor {text[:40]!r}: expected WIDTHxHEIGHT in pixels, for example 640x480"
        )
    width, height = map(int, found.groups())
    return check_sensor((height, width), f"--sensor {text}")


def check_sensor(sensor: tuple[int, int], name: str) -> tuple[int, int]:
    """Give the size back; raise InputError unless both sides are 1..4096 pixels."""
    height, width = sensor
    if not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
        raise InputError(
            f"{name}: a sensor of {width}x{height}, expected 1 to {LARGEST_SIDE} a side; the header"
            " is damaged, or --sensor wrong"
        )
    return sensor
