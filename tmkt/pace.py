"""Time that is left of work in equal units, and progress of work that has parts."""

import time
from collections import deque
from collections.abc import Callable

RECENT_S = 5.0  # the speed is that of so many seconds ...
RECENT = 5  # ... and of so many reports at least: work may become slower (a head first, then all)


class Pace:
    """Speed of work, as of late and from its second report on: until the first one, it starts
    (loads, compiles), however many units that one is of.
    """

    def __init__(self, paused: bool = False) -> None:
        self._idle_s = 0.0
        self._paused_at: float | None = time.monotonic() if paused else None
        self._recent: deque[tuple[int, float]] = deque()

    def report(self, done: int) -> None:
        """Note that so many units are done in all; fewer than before: the work starts again."""
        now = self._now()
        if done < self.done:
            self._recent.clear()
        if done > 0:
            self._recent.append((done, now))
        while len(self._recent) > RECENT + 1 and self._recent[1][1] < now - RECENT_S:
            self._recent.popleft()

    def pause(self) -> None:
        """Stop the clock: other work comes."""
        self._paused_at = time.monotonic()

    def resume(self) -> None:
        """Start the clock again."""
        if self._paused_at is not None:
            self._idle_s += time.monotonic() - self._paused_at
            self._paused_at = None

    def _now(self) -> float:
        return (self._paused_at or time.monotonic()) - self._idle_s

    @property
    def done(self) -> int:
        """Units that are done."""
        return self._recent[-1][0] if self._recent else 0

    @property
    def per_unit_s(self) -> float | None:
        """Seconds a unit; None where nothing tells yet."""
        if not self._recent:
            return None
        (first, began), (last, ended) = self._recent[0], self._recent[-1]
        return (ended - began) / (last - first) if last > first else None

    def left_s(self, total: int) -> float | None:
        """Seconds that are left of `total` units; None where nothing tells yet."""
        if self.done >= total:
            return 0.0
        each = self.per_unit_s
        return None if each is None else each * (total - self.done)


def one_after_the_other(
    progress: Callable[[int, int], None], total: int
) -> Callable[[int, int], None]:
    """Give a function that parts tell of their own progress (done, all), each in turn; `progress`
    is told of theirs together, of `total`.
    """
    before = 0

    def tell(done: int, part: int) -> None:
        nonlocal before
        progress(before + done, total)
        before += part if done == part else 0

    return tell
