"""Time that is left of work in equal units."""

import time


class Pace:
    """Speed of work, from its second report on: until the first one, it starts (loads, compiles).

    Where the first report is of several units, it is better than nothing until the second one.
    """

    def __init__(self, paused: bool = False) -> None:
        self._idle_s = 0.0
        self._paused_at: float | None = time.monotonic() if paused else None
        self._begin = self._now()
        self._first: tuple[int, float] | None = None
        self._last = (0, self._begin)

    def report(self, done: int) -> None:
        """Note that so many units are done in all; fewer than before: the work starts again."""
        now = self._now()
        if done < self._last[0]:
            self._begin, self._first = now, None
        if self._first is None and done > 0:
            self._first = (done, now)
        self._last = (done, now)

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
        return self._last[0]

    @property
    def per_unit_s(self) -> float | None:
        """Seconds a unit; None where nothing tells yet."""
        if self._first is None:
            return None
        units = self._last[0] - self._first[0]
        if units > 0:
            return (self._last[1] - self._first[1]) / units
        return (self._first[1] - self._begin) / self._first[0] if self._first[0] > 1 else None

    def left_s(self, total: int) -> float | None:
        """Seconds that are left of `total` units; None where nothing tells yet."""
        if self._last[0] >= total:
            return 0.0
        each = self.per_unit_s
        return None if each is None else each * (total - self._last[0])
