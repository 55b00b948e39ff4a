"""The netx file: read back without Lava and run plainly. tests/deploy runs it in Lava itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_program import run_plain
from random_programs import frames_for, programs

from tmkt.errors import InputError
from tmkt.export.targets.lava import unroll, write_lava
from tmkt.program.model import INPUT, Layer, Program, Synapse, conv_shape


def pair(value: Any) -> tuple[int, int]:
    return int(value[0]), int(value[1])


def read_netx(path: Path, max_count: int, readout: str) -> Program:
    """Read the file as netx would: no pools, no crop, one source each."""
    layers: list[Layer] = []
    shape: tuple[int, ...] = ()
    with h5py.File(path) as file:
        for i in range(len(file["layer"])):
            entry = file[f"layer/{i}"]
            kind = entry["type"][0].decode("ascii")
            if kind == "input":
                assert set(entry) == {"type", "shape"}
                shape = input_shape = tuple(entry["shape"][()].tolist())
                continue
            if kind == "flatten":
                shape = (int(np.prod(shape)),)
                continue
            assert "messageBits" not in entry["neuron"]
            assert entry["neuron/type"][0] == b"CUBA"
            source = layers[-1].name if layers else INPUT
            synapse = Synapse(
                source, kind.removesuffix("_rec"), entry["weight"][()].astype(np.int16)
            )
            synapses = [synapse]
            if kind == "dense" and "delay" in entry:
                synapses = [replace(synapse, delays=entry["delay"][()].astype(np.uint8))]
            if kind == "dense_rec":
                assert "delay" not in entry
                synapses.append(Synapse(f"{i}", "dense", entry["weight_rec"][()].astype(np.int16)))
            if kind == "conv":
                conv = {name: pair(entry[name][()]) for name in ("stride", "padding", "dilation")}
                synapses = [synapse := replace(synapse, **conv, groups=int(entry["groups"][()]))]
                assert conv_shape(synapse, shape) == tuple(entry["shape"][()])
            shape = tuple(entry["shape"][()].tolist())
            decays = int(entry["neuron/vDecay"][()]), int(entry["neuron/iDecay"][()])
            layers.append(
                Layer(
                    f"{i}",
                    shape,
                    tuple(synapses),
                    entry["bias"][()],
                    int(entry["neuron/vThMant"][()]),
                    *decays,
                )
            )
    if readout == "membrane":
        assert layers[-1].threshold == 131071
        layers[-1] = replace(layers[-1], fires=False)
    return Program(input_shape, max_count, tuple(layers), readout)


def fits_netx(program: Program) -> bool:
    if not all(any(synapse.weight.any() for synapse in layer.synapses) for layer in program.layers):
        return False
    recurrent = [layer for layer in program.layers if len(layer.synapses) == 2]
    if any(
        s.kind == "conv" or s.delays is not None or (s.source == layer.name and s.pool > 1)
        for layer in recurrent
        for s in layer.synapses
    ):
        return False
    convs = [layer.synapses[0] for layer in program.layers if layer.synapses[0].kind == "conv"]
    return not any(n % conv.pool for conv in convs for n in program.shape_of(conv.source)[1:])


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_the_file_spikes_as_the_program_does(tmp_path: Path, data: st.DataObject) -> None:
    program = data.draw(programs(chain=True, temporal=True))
    path = tmp_path / "loihi.net"
    if not fits_netx(program):
        with pytest.raises(InputError):
            write_lava(program, path)
        return
    write_lava(program, path)
    frames = data.draw(frames_for(program))
    readout, spikes, states = run_plain(program, frames)
    found_readout, found_spikes, found_states = run_plain(
        read_netx(path, program.max_count, program.readout), frames
    )
    np.testing.assert_array_equal(found_readout, readout)
    for expected, found in zip(spikes.values(), found_spikes.values(), strict=True):
        np.testing.assert_array_equal(found, expected)
    for expected, found in zip(states.values(), found_states.values(), strict=True):
        np.testing.assert_array_equal(found["v"], expected["v"])
        np.testing.assert_array_equal(found["u"], expected["u"])


def test_delays_are_repeated_with_the_weights_of_a_pool() -> None:
    delays = np.arange(4, dtype=np.uint8).reshape(1, 4)
    unrolled = unroll(
        Synapse(INPUT, "dense", np.full((1, 4), 2, np.int16), pool=2, delays=delays),
        (1, 5, 4),
        (1,),
    )
    assert unrolled.delays is not None
    assert unrolled.delays.reshape(5, 4).tolist() == [
        [0, 0, 1, 1],
        [0, 0, 1, 1],
        [2, 2, 3, 3],
        [2, 2, 3, 3],
        [0, 0, 0, 0],
    ]


def conv(pool: int, dilation: int = 1, padding: int = 1, stride: int = 1) -> Synapse:
    weight = np.arange(2, 20, 2, dtype=np.int16).reshape(1, 1, 3, 3)
    return Synapse(
        INPUT, "conv", weight, (stride, stride), (padding, padding), (dilation, dilation), 1, pool
    )


def test_a_pooled_convolution_becomes_one_of_twice_the_size() -> None:
    unrolled = unroll(conv(2), (1, 16, 16), (1, 8, 8))
    assert (unrolled.weight.shape, unrolled.stride, unrolled.padding, unrolled.pool) == (
        (1, 1, 6, 6),
        (2, 2),
        (2, 2),
        1,
    )
    np.testing.assert_array_equal(unrolled.weight[0, 0, :2, 2:4], [[4, 4], [4, 4]])


@pytest.mark.parametrize(("size", "stride", "extra"), [(17, 1, 1), (34, 2, 2), (33, 2, 1)])
def test_a_crop_costs_as_many_zeros_as_it_must(size: int, stride: int, extra: int) -> None:
    synapse = conv(1, stride=stride)
    full = conv_shape(synapse, (1, size, size))
    unrolled = unroll(synapse, (1, size, size), (1, full[1] // 2 * 2, full[2] // 2 * 2))
    assert unrolled.weight.shape == (1, 1, 3 + extra, 3 + extra)
    assert not unrolled.weight[:, :, 3:].any()
    assert not unrolled.weight[:, :, :, 3:].any()


def test_a_layer_that_needs_no_crop_keeps_its_kernel_and_dilation() -> None:
    synapse = conv(1, dilation=2, padding=2)
    unrolled = unroll(synapse, (1, 16, 16), (1, 16, 16))
    assert unrolled.dilation == (2, 2)
    np.testing.assert_array_equal(unrolled.weight, synapse.weight)


def dense_layer(name: str, sources: list[str], weight: int = 2) -> Layer:
    synapses = tuple(
        Synapse(source, "dense", np.full((4, 4), weight, np.int16)) for source in sources
    )
    return Layer(name, (4,), synapses, np.zeros(4, np.int32), 10, 2048)


def late(layer: Layer) -> Layer:
    return replace(
        layer,
        synapses=tuple(
            replace(synapse, delays=np.ones((4, 4), np.uint8)) for synapse in layer.synapses
        ),
    )


def recurrent_map() -> Layer:
    kernel = Synapse(INPUT, "conv", np.full((1, 1, 1, 1), 2, np.int16))
    return Layer(
        "a", (1, 2, 2), (kernel, *dense_layer("a", ["a"]).synapses), np.zeros(1, np.int32), 10, 2048
    )


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [dense_layer("a", ["input"]), dense_layer("b", ["a", "input"])],
            r"layer 'b': reads \['a', 'input'\], expected 'a' alone",
        ),
        (
            [dense_layer("a", ["input", "a", "a"])],
            r"layer 'a': reads \['input', 'a', 'a'\], expected 'input' alone or with itself",
        ),
        (
            [dense_layer("a", ["a"])],
            r"layer 'a': reads \['a'\], expected 'input' alone or with itself",
        ),
        (
            [late(dense_layer("a", ["input", "a"]))],
            "layer 'a': delays and a recurrent synapse, expected one of them",
        ),
        ([recurrent_map()], "layer 'a': a convolution or a pool beside a recurrent synapse"),
        (
            [dense_layer("a", ["input"]), dense_layer("b", ["input"])],
            r"layer 'b': reads \['input'\], expected 'a' alone",
        ),
        ([dense_layer("a", ["input"], weight=0)], "layer 'a': all weights are 0"),
    ],
)
def test_what_netx_cannot_hold_is_refused_and_nothing_written(
    tmp_path: Path, layers: list[Layer], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_lava(Program((1, 2, 2), 1, tuple(layers), "spikes"), tmp_path / "loihi.net")
    assert not list(tmp_path.iterdir())


def test_the_same_program_gives_the_same_bytes(tmp_path: Path) -> None:
    program = Program((1, 2, 2), 1, (dense_layer("a", ["input"]),), "spikes")
    for name in ("a", "b"):
        write_lava(program, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
