"""Programs keep their integers on disk, and no integer leaves its range."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from plain_program import synaptic_sum
from random_programs import programs
from safetensors import safe_open
from safetensors.numpy import save_file

from tmkt.errors import InputError
from tmkt.program.arithmetic import MAX_DELAY
from tmkt.program.file import load, save
from tmkt.program.model import INPUT, Layer, Program, Synapse, largest_sum

CONV = Synapse(INPUT, "conv", np.full((4, 1, 3, 3), 2, np.int16), padding=(1, 1), groups=2)
DENSE = Synapse("a", "dense", np.full((3, 4 * 3 * 2), 4, np.int16), pool=2)
FIRST = Layer("a", (4, 6, 5), (CONV,), np.zeros(4, np.int32), 10, 2048)
LAST = Layer("b", (3,), (DENSE,), np.zeros(3, np.int32), 0, 0, fires=False)
PROGRAM = Program((2, 6, 5), 1, (FIRST, LAST), "membrane")


def first(**changes: Any) -> Program:
    return Program(PROGRAM.input_shape, 1, (replace(FIRST, **changes), LAST), "membrane")


def conv(**changes: Any) -> Program:
    return first(synapses=(replace(CONV, **changes),))


def dense(**changes: Any) -> Program:
    return Program(
        PROGRAM.input_shape,
        1,
        (FIRST, replace(LAST, synapses=(replace(DENSE, **changes),))),
        "membrane",
    )


def temporal(**changes: Any) -> Program:
    """Return the first layer with a recurrent, delayed synapse of its own."""
    synapse = Synapse(
        "a",
        "dense",
        np.full((120, 120), 2, np.int16),
        delays=np.full((120, 120), MAX_DELAY, np.uint8),
    )
    return first(synapses=(CONV, replace(synapse, **changes)))


def assert_same(a: Any, b: Any) -> None:
    """Equality of dataclasses that hold arrays, dtypes included."""
    for field in fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, np.ndarray):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)
        elif field.name in ("layers", "synapses"):
            assert len(x) == len(y)
            for one, other in zip(x, y, strict=True):
                assert_same(one, other)
        else:
            assert (type(x), x) == (type(y), y), field.name


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(programs(temporal=True))
def test_a_program_read_back_is_the_program_that_was_saved(
    tmp_path: Path, program: Program
) -> None:
    save(program, tmp_path / "p.safetensors")
    assert_same(load(tmp_path / "p.safetensors"), program)
    content = (tmp_path / "p.safetensors").read_bytes()
    save(program, tmp_path / "p.safetensors")
    assert (tmp_path / "p.safetensors").read_bytes() == content


@settings(max_examples=60, deadline=None)
@given(programs(temporal=True))
def test_the_largest_sum_bounds_what_any_input_can_cause(program: Program) -> None:
    values: dict[str, Any] = {INPUT: np.full(program.input_shape, program.max_count, np.int64)}
    values |= {layer.name: np.ones(layer.shape, np.int64) for layer in program.layers}
    for layer in program.layers:
        magnitudes = replace(
            layer, synapses=tuple(replace(s, weight=np.abs(s.weight)) for s in layer.synapses)
        )
        assert synaptic_sum(magnitudes, [values] * (MAX_DELAY + 2)).max() <= largest_sum(
            program, layer
        )


def far(size: tuple[int, int], **settings: Any) -> Program:
    """Build a program of one convolution of one tap, from 4 x 4 pixels to a map of `size`."""
    synapse = Synapse(INPUT, "conv", np.ones((1, 1, 1, 1), np.int16), **settings)
    layer = Layer("a", (1, *size), (synapse,), np.zeros(1, np.int32), 0, 0)
    return Program((1, 4, 4), 1, (layer,), "spikes")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: replace(PROGRAM, layers=()), "layers: found none"),
        (lambda: replace(PROGRAM, max_count=0), "max_count: found 0"),
        (lambda: replace(PROGRAM, max_count=256), "max_count: found 256"),
        (lambda: replace(PROGRAM, max_count=1.5), "max_count: found 1.5"),
        (lambda: replace(PROGRAM, input_shape=(2, 6)), "input shape"),
        (lambda: replace(PROGRAM, input_shape=(2, 0, 5)), "input shape"),
        (lambda: replace(PROGRAM, input_shape=(2, 2**20, 2**20)), "at most 16777216 sites"),
        (lambda: replace(PROGRAM, readout="argmax"), "readout"),
        (lambda: replace(PROGRAM, readout="spikes"), "fires = False"),
        (lambda: replace(PROGRAM, layers=(FIRST, replace(LAST, fires=True))), "fires = True"),
        (lambda: replace(PROGRAM, layers=(FIRST, replace(LAST, name="a"))), "layer names: found a"),
        (lambda: first(name=INPUT), "layer names: found input"),
        (lambda: first(name=""), "layer names"),
        (lambda: first(name="a/b"), "layer names"),
        (lambda: first(shape=(4, 6)), "shape"),
        (lambda: first(shape=(4, -6, 5)), "shape"),
        (lambda: first(shape=(4, 2**20, 2**20)), "at most 16777216 neurons"),
        (lambda: first(shape=(4, 7, 5)), r"shape: found \(4, 7, 5\), expected at most \(4, 6, 5\)"),
        (lambda: first(shape=(3, 6, 5), bias=np.zeros(3, np.int32)), "channels"),
        (lambda: first(threshold=-1), "threshold: found -1"),
        (lambda: first(threshold=2**17), r"threshold: found 131072, expected 0\.\.131071"),
        (lambda: first(threshold=1.5), "threshold: found 1.5"),
        (lambda: first(voltage_decay=-1), "voltage decay: found -1"),
        (lambda: first(voltage_decay=4097), "voltage decay: found 4097"),
        (lambda: first(voltage_decay=2048.5), "voltage decay: found 2048.5"),
        (lambda: first(current_decay=-1), "current decay: found -1"),
        (lambda: first(current_decay=4097), "current decay: found 4097"),
        (lambda: first(bias=np.full(4, 4096, np.int32)), "bias: found"),
        (lambda: first(bias=np.full(4, -4097, np.int32)), "bias: found"),
        (lambda: first(bias=np.zeros(3, np.int32)), "bias shape"),
        (lambda: first(bias=np.zeros(4, np.float32)), "bias: found float32"),
        (lambda: first(synapses=()), "synapses: found none"),
        (lambda: conv(source="nowhere"), "source: found nowhere"),
        (lambda: conv(source="b"), "source: found b"),
        (lambda: conv(kind="pool"), "synapse kind: found pool"),
        (
            lambda: conv(weight=np.full((4, 1, 3, 3), 256, np.int16)),
            "found 256, expected at most 254",
        ),
        (lambda: conv(weight=np.full((4, 1, 3, 3), -(2**15), np.int16)), "found 32768"),
        (lambda: conv(weight=np.full((4, 1, 3, 3), 129, np.int16)), "odd ones above 127"),
        (lambda: conv(weight=np.full((4, 1, 3, 3), 0.5, np.float32)), "weights: found float32"),
        (lambda: conv(weight=np.zeros((4, 1, 3), np.int16)), "shapes"),
        (lambda: conv(weight=np.zeros((4, 2, 3, 3), np.int16)), "channels"),
        (lambda: conv(groups=0), "conv settings"),
        (lambda: conv(groups=3), "channels"),
        (lambda: conv(stride=(0, 1)), "conv settings"),
        (lambda: conv(dilation=(1, 0)), "conv settings"),
        (lambda: conv(padding=(-1, 1)), "conv settings"),
        (lambda: conv(stride=(1, 1, 1)), "synapse settings"),
        (
            lambda: far((1, 4), stride=(2**24 + 1, 1)),
            "largest stride, padding or dilation: found 16777217, expected at most 16777216",
        ),
        (lambda: far((1, 4), padding=(2**31 - 1, 0), stride=(2**31, 1)), "found 2147483648"),
        (lambda: far((4, 1), stride=(1, 2**63)), "found 9223372036854775808"),
        (lambda: far((4, 4), dilation=(2**63, 1)), "found 9223372036854775808"),
        (lambda: conv(weight=np.zeros((4, 1, 0, 3), np.int16)), "weight shape: .* no side of 0"),
        (
            lambda: dense(weight=np.zeros((3, 0), np.int16), pool=7),
            "pool: found 7, expected one that fits into the source's shape",
        ),
        (
            lambda: Program(
                (1, 2**12, 2**12),
                64,
                (
                    Layer(
                        "b",
                        (1,),
                        (Synapse(INPUT, "dense", np.zeros((1, 1), np.int16), pool=2**12),),
                        np.zeros(1, np.int32),
                        0,
                        0,
                    ),
                ),
                "spikes",
            ),
            "counts summed by a pool: found 1073741824, expected at most 1073741823",
        ),
        (lambda: first(scale=2**31 + 1), "scale: found 2147483649"),
        (lambda: conv(stride=(1.0, 1)), "synapse settings"),
        (lambda: conv(pool=0), "pool"),
        (lambda: conv(pool=7), "shape"),
        (lambda: dense(weight=np.zeros((3, 24, 1), np.int16)), "weight shape"),
        (
            lambda: dense(weight=np.zeros((3, 23), np.int16)),
            r"weight shape: found \(3, 23\), expected \(3, 24\)",
        ),
        (lambda: dense(weight=np.zeros((4, 24), np.int16)), "weight shape"),
        (lambda: dense(pool=3), "weight shape"),
        (
            lambda: dense(delays=np.full((3, 24), 63, np.uint8)),
            r"longest delay: found 63, expected 0\.\.62 steps",
        ),
        (
            lambda: dense(delays=np.full((3, 24), 1, np.int64)),
            "delays: found int64, expected uint8",
        ),
        (
            lambda: dense(delays=np.ones(24, np.uint8)),
            r"shape of the delays: found \(24,\), expected the weight's, \(3, 24\)",
        ),
        (
            lambda: conv(delays=np.ones((4, 1, 3, 3), np.uint8)),
            "delays: found some on a convolution",
        ),
        (lambda: conv(source="a"), "synapse from itself: found conv, expected dense"),
        (lambda: temporal(source="b"), "source: found b"),
        (
            lambda: dense(source="b", weight=np.zeros((3, 3), np.int16), pool=1),
            "a layer that does not fire",
        ),
        (lambda: temporal(weight=np.zeros((120, 119), np.int16)), "weight shape"),
        (
            lambda: Program(
                (1, 60, 60),
                255,
                (
                    Layer(
                        "b",
                        (1,),
                        (Synapse(INPUT, "dense", np.full((1, 3600), 254, np.int16)),),
                        np.zeros(1, np.int32),
                        0,
                        0,
                    ),
                ),
                "spikes",
            ),
            "largest sum of weights: found 233172000, expected below 8388608",
        ),
    ],
)
def test_what_is_out_of_range_is_refused_with_layer_value_and_limit(
    make: Callable[[], Program], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        make()


def test_the_limits_themselves_are_allowed() -> None:
    first(threshold=0, voltage_decay=0, current_decay=0, bias=np.full(4, -4096, np.int32))
    first(
        threshold=2**17 - 1, voltage_decay=4096, current_decay=4096, bias=np.full(4, 4095, np.int32)
    )
    for w in (-254, 254, -127, 127):
        conv(weight=np.full((4, 1, 3, 3), w, np.int16))
    first(shape=(4, 6, 4))  # cropped
    far((3, 3), stride=(2**24, 2**24), padding=(2**24, 2**24), dilation=(2**24, 2**24))
    recurrent = temporal()
    assert largest_sum(recurrent, recurrent.layers[0]) == 18 + 120 * 2
    assert recurrent.layers[0].steps_back(recurrent.layers[0].synapses[1]) == MAX_DELAY + 1
    assert largest_sum(PROGRAM, FIRST) == 18
    assert largest_sum(PROGRAM, LAST) == 4 * 24 * 4


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the graph in a saved program's header."""
    with safe_open(path, framework="numpy") as file:
        tensors, graph = (
            {key: file.get_tensor(key) for key in file.keys()},  # noqa: SIM118
            json.loads(file.metadata()["program"]),
        )
    change(graph)
    save_file(tensors, path, metadata={"program": json.dumps(graph)})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda g: g.update(version=3), "update tmkt"),
        (lambda g: g.pop("layers"), "not a readable program"),
        (lambda g: g["layers"][0].update(unknown=1), "not a readable program"),
        (lambda g: g["layers"][0].update(threshold="10"), "threshold"),
        (lambda g: g["layers"][0].update(shape=7), "not a readable program"),
        (lambda g: g["layers"][0]["synapses"][0].update(stride=None), "not a readable program"),
        (lambda g: g["layers"][0].update(name="other"), "not a readable program"),
        (lambda g: g.update(max_count=10**30), "max_count"),
        (lambda g: g.update(version=float("nan")), "version nan"),
        (lambda g: g["layers"][0].update(fires={}), "fires"),
        (lambda g: g["layers"][0].update(scale="x"), "scale"),
        (lambda g: g["layers"][0].update(synapses=["x"]), "not a readable program"),
        (lambda g: g["layers"][0]["synapses"][0].update(delays=True), "not a readable program"),
        (
            lambda g: g["layers"][0]["synapses"][0].update(padding=[10**9, 10**9]),
            "at most 16777216 sites",
        ),
    ],
)
def test_a_damaged_header_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    path = tmp_path / "p.safetensors"
    save(PROGRAM, path)
    rewrite(path, change)
    with pytest.raises(InputError, match=says):
        load(path)


def test_a_program_without_delays_is_written_without_a_word_of_them(tmp_path: Path) -> None:
    save(PROGRAM, tmp_path / "p")
    assert b"delays" not in (tmp_path / "p").read_bytes()
    save(dense(delays=np.ones((3, 24), np.uint8)), tmp_path / "p")
    assert b"delays" in (tmp_path / "p").read_bytes()


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\xff" * 8 + b"{}"])
def test_a_file_that_is_no_program_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="not a readable program"):
        load(tmp_path / "p.safetensors")


def test_a_cut_file_is_refused_at_every_length(tmp_path: Path) -> None:
    save(PROGRAM, tmp_path / "p")
    content = (tmp_path / "p").read_bytes()
    for size in range(0, len(content), 97):
        (tmp_path / "cut").write_bytes(content[:size])
        with pytest.raises(InputError):
            load(tmp_path / "cut")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such file"):
        load(tmp_path / "nowhere")


def test_a_file_that_the_system_does_not_let_read_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\); check its perm"):
        load(tmp_path)
