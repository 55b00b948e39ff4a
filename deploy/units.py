"""Quantities with their units as types: energy an operation times operations of another kind is an error, not a number."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, order=True)
class _Quantity:
    value: float

    def __add__(self, other: Self) -> Self:
        return type(self)(self.value + other.value) if type(other) is type(self) else NotImplemented

    def __sub__(self, other: Self) -> Self:
        return type(self)(self.value - other.value) if type(other) is type(self) else NotImplemented


class Joules(_Quantity):
    """Energy."""


class Spikes(_Quantity):
    """Spikes of neurons."""


class Synops(_Quantity):
    """Synaptic operations: a spike that meets a synapse."""


class Updates(_Quantity):
    """Neuron updates: a neuron in a step."""


class JoulesPerSynop(_Quantity):
    """What a synaptic operation costs."""

    def __mul__(self, count: Synops) -> Joules:
        return Joules(self.value * count.value) if type(count) is Synops else NotImplemented


class JoulesPerUpdate(_Quantity):
    """What a neuron update costs."""

    def __mul__(self, count: Updates) -> Joules:
        return Joules(self.value * count.value) if type(count) is Updates else NotImplemented
