"""Decision rule: the best class leads by a margin, for some bins in a row."""

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.program.model import Program
from tmkt.program.readout import margin_unit

Readout = NDArray[np.int64]


def leading_class(readout: Readout) -> tuple[int, int]:
    """Return the best class (the lowest among equals) and its lead over the second.

    The lead is in the program's integers; 0 where there is one class.
    """
    best = int(np.argmax(readout))
    others = np.delete(readout, best)
    return best, int(readout[best] - others.max()) if others.size else 0


@dataclass(frozen=True)
class Rule:
    """Rule that makes a read-out a decision: a lead of at least `margin` (see `margin_unit`) in
    `hold` bins in a row, for the same class.

    In each of these bins the window must have at least `min_events` events so far. Without a margin
    a window decides at its end, if it has the events. Nothing is ever decided for the class
    `nothing`, of noise, nor where the best class's read-out is under `reject_below`, in the unit of
    the margin.
    """

    margin: float | None = None
    hold: int = 1
    min_events: int = 1
    nothing: int | None = None
    reject_below: float | None = None

    def __post_init__(self) -> None:
        if self.hold > 1 and self.margin is None:
            raise InputError(
                f"hold {self.hold} without a margin, expected both; add --margin, or leave out"
                " --hold"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the rule as it is printed in JSON."""
        own = {"margin": self.margin, "hold": self.hold, "min_events": self.min_events}
        more = {"nothing": self.nothing, "reject_below": self.reject_below}
        return {**own, **{key: value for key, value in more.items() if value is not None}}


class RuleState:
    """State of a rule over the bins of one window."""

    def __init__(self, rule: Rule, program: Program) -> None:
        self.rule = rule
        self._needed, self._least = (
            # Without the 1e-6, a margin computed from an integer could give the next one.
            None if wanted is None else ceil(wanted * margin_unit(program) - 1e-6)
            for wanted in (rule.margin, rule.reject_below)
        )
        self._leads: int | None = None
        self._held = 0

    def confident(self, readout: Readout, best: int, margin: int, events: int) -> bool:
        """Take the next bin's read-out, in which `best` leads by `margin`, and return whether the
        rule is met now.

        Without a margin, it is met when there are enough events.
        """
        too_few = events < self.rule.min_events
        too_close = self._needed is not None and margin < self._needed
        unknown = self._least is not None and readout[best] < self._least
        if too_few or too_close or unknown or best == self.rule.nothing:
            self._leads, self._held = None, 0
            return False
        self._held = self._held + 1 if best == self._leads else 1
        self._leads = best
        return self._held >= self.rule.hold
