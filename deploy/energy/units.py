"""Quantities with their units as types.

Energy per operation times a count of another kind of operation is an error, not a number. A value
is a float or an array of floats; the type says what it counts.
"""

from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = float | NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Quantity:
    value: Value

    def __add__(self, other: Self) -> Self:
        return type(self)(self.value + other.value) if type(other) is type(self) else NotImplemented

    def __sub__(self, other: Self) -> Self:
        return type(self)(self.value - other.value) if type(other) is type(self) else NotImplemented

    def scaled(self, factor: Value) -> Self:
        """Multiply by a number without a unit."""
        if not isinstance(factor, int | float | np.ndarray):
            raise TypeError(
                f"{type(self).__name__} scaled by {type(factor).__name__}, expected a number"
            )
        return type(self)(self.value * factor)


class Joules(_Quantity):
    """Energy."""


class Seconds(_Quantity):
    """Time."""


class Watts(_Quantity):
    """Power."""

    def __mul__(self, time: Seconds) -> Joules:
        return Joules(self.value * time.value) if type(time) is Seconds else NotImplemented


class Count(_Quantity):
    """Number of something."""


class Spikes(Count):
    """Spikes of neurons."""


class Synops(Count):
    """Synaptic operations: a spike arriving at a synapse."""


class Updates(Count):
    """Neuron updates: a neuron in a step."""


class Additions(Count):
    """Additions of two numbers."""


class Multiplications(Count):
    """Multiplications of two numbers."""


class Accesses(Count):
    """Reads or writes of one 32-bit word."""


C = TypeVar("C", bound=Count)


class JoulesPer(Generic[C]):
    """Energy of one operation of a kind: `JoulesPer(23.6e-12, Synops)`.

    Its product with that kind is energy, with anything else an error.
    """

    def __init__(self, joules: Value, kind: type[C]) -> None:
        self.joules, self.kind = joules, kind

    def __mul__(self, count: C) -> Joules:
        return Joules(self.joules * count.value) if type(count) is self.kind else NotImplemented

    def __add__(self, other: "JoulesPer[C]") -> "JoulesPer[C]":
        same: Any = isinstance(other, JoulesPer) and other.kind is self.kind
        return JoulesPer(self.joules + other.joules, self.kind) if same else NotImplemented
