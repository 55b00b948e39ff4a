"""Silent and saturated layers of a program, and their likely cause."""

import numpy as np
import pytest

from tmkt.program.health import SATURATED, SILENT, Activity, describe_health
from tmkt.program.model import Layer, Program, Synapse


def make_program(voltage_decay: int = 2048) -> Program:
    def layer(name: str, source: str) -> Layer:
        synapse = Synapse(source, "dense", np.full((2, 2), 2, np.int16))
        return Layer(name, (2,), (synapse,), np.zeros(2, np.int32), 100, voltage_decay)

    return Program((2, 1, 1), 1, (layer("a", "input"), layer("b", "a"), layer("c", "b")), "spikes")


def lines(voltage_decay: int = 2048, input: float = 0.1, **rates: float) -> list[str]:
    known = {"a": 0.1, "b": 0.1, "c": 0.1} | rates
    return describe_health(make_program(voltage_decay), Activity(10, input, known))


def test_nothing_is_said_where_all_is_well() -> None:
    assert lines() == []
    assert lines(a=SILENT, b=SATURATED) == []


@pytest.mark.parametrize(
    ("voltage_decay", "input", "cause"),
    [
        (2048, 0.0, "nothing reaches it"),
        (
            2,
            0.1,
            "its time constant is 2048 steps, a recording has 10; likely the time step",
        ),
        (0, 0.1, "its membrane never leaks"),
        (2048, 0.1, "its inputs are too weak for its threshold; likely the scale of the input"),
    ],
)
def test_the_first_silent_layer_is_named_with_the_cause(
    voltage_decay: int, input: float, cause: str
) -> None:
    (line,) = lines(voltage_decay, input, a=0.0, b=0.0, c=0.0)
    assert line.startswith("layers a, b, c are silent (0 % of neurons and steps spike in a): ")
    assert cause in line
    (line,) = lines(voltage_decay, b=0.0005)
    assert line.startswith("layer b is silent (0.05 % of neurons and steps spike): ")


@pytest.mark.parametrize(("voltage_decay", "cause"), [(3900, "loses 95 %"), (2048, "too strong")])
def test_a_saturated_layer_is_named_with_the_cause(voltage_decay: int, cause: str) -> None:
    (line,) = lines(voltage_decay, c=0.97)
    assert line.startswith("layer c is saturated (97 % of neurons and steps spike): ")
    assert cause in line
