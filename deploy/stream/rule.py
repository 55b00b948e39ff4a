"""When a read-out is a decision: the lead of the best class over the next, held for some bins."""

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.program.arithmetic import DECAY_ONE
from tmkt.program.model import Program

Readout = NDArray[np.int64]


def unit(program: Program) -> int:
    """What a margin of 1 is in the program's integers: 1 of the float network's summed logits
    (where the scale is not known, the weight 1), or one spike of a read-out by spikes.
    """
    return 1 if program.readout == "spikes" else 64 * (program.layers[-1].scale or 1)


def adds_up(program: Program) -> bool:
    """Whether what each bin gives to the read-out is simply added: an integrator that neither leaks
    nor has a current, or spike counts.
    """
    last = program.layers[-1]
    return program.readout == "spikes" or (
        last.voltage_decay == 0 and last.current_decay == DECAY_ONE
    )


def leader(readout: Readout) -> tuple[int, int]:
    """The best class (the lowest among equals) and its lead over the next, in the program's
    integers; 0 where there is one class.
    """
    best = int(np.argmax(readout))
    others = np.delete(readout, best)
    return best, int(readout[best] - others.max()) if others.size else 0


@dataclass(frozen=True)
class Rule:
    """A read-out is confident when its lead is at least `margin` (in `unit`s) in `hold` bins in a
    row, for the same class, each with at least `min_events` events in the window so far. Without a
    margin a window decides at its end, if it has the events.
    """

    margin: float | None = None
    hold: int = 1
    min_events: int = 1

    def __post_init__(self) -> None:
        if self.hold > 1 and self.margin is None:
            raise InputError(
                f"hold {self.hold} without a margin, expected both; add --margin, or leave out"
                " --hold"
            )

    def to_json(self) -> dict[str, Any]:
        return {"margin": self.margin, "hold": self.hold, "min_events": self.min_events}


class Watch:
    """A rule over the bins of one window."""

    def __init__(self, rule: Rule, program: Program) -> None:
        self.rule = rule
        # A margin that was read off as an integer is that integer again: hence the little less.
        self._needed = None if rule.margin is None else ceil(rule.margin * unit(program) - 1e-6)
        self._leads: int | None = None
        self._held = 0

    def confident(self, best: int, margin: int, events: int) -> bool:
        """Tells the rule what the next bin's read-out is; whether it is confident now. Without a
        margin: whether there are enough events.
        """
        if events < self.rule.min_events or (self._needed is not None and margin < self._needed):
            self._leads, self._held = None, 0
            return False
        self._held = self._held + 1 if best == self._leads else 1
        self._leads = best
        return self._held >= self.rule.hold
