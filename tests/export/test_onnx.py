"""The ONNX file, always executed by ONNX Runtime, against the plain program."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from plain_program import run_plain
from random_programs import frames_for, programs

from tmkt.export.targets.onnx import write_onnx
from tmkt.program.arithmetic import DECAY_ONE
from tmkt.program.file import load
from tmkt.program.model import Layer, Program, Synapse

# All that real Lava computed.
GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.npz"))

# The folder is rewritten by every example, which is what the health check warns of.
property_test = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


LEVELS = onnxruntime.GraphOptimizationLevel


def open_session(path: Path, level: Any = LEVELS.ORT_ENABLE_ALL) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run_onnx(
    session: onnxruntime.InferenceSession,
    frames: NDArray[np.uint8],
    states: dict[str, Any] | None = None,
) -> dict[str, Any]:
    feed = {"x": np.ascontiguousarray(frames.swapaxes(0, 1))}
    for state in session.get_inputs()[1:]:
        dtype = np.uint8 if state.type == "tensor(uint8)" else np.int32
        feed[state.name] = (
            states[f"{state.name}_out"]
            if states
            else np.zeros((len(frames), *state.shape[1:]), dtype)
        )
    return dict(
        zip([out.name for out in session.get_outputs()], session.run(None, feed), strict=True)
    )


def assert_equal_to_plain(
    program: Program, session: onnxruntime.InferenceSession, frames: NDArray[np.uint8]
) -> dict[str, dict[str, Any]]:
    readout, spikes, states = run_plain(program, frames)
    found = run_onnx(session, frames)
    np.testing.assert_array_equal(found["readout"], readout)
    assert {name.removesuffix(".spikes") for name in found if name.endswith(".spikes")} == set(
        spikes
    )
    for name, expected in spikes.items():
        np.testing.assert_array_equal(found[f"{name}.spikes"].swapaxes(0, 1), expected)
    for layer in program.layers:
        np.testing.assert_array_equal(found[f"{layer.name}.v_out"], states[layer.name]["v"])
        if layer.current_decay != DECAY_ONE:
            np.testing.assert_array_equal(found[f"{layer.name}.u_out"], states[layer.name]["u"])
    return states


@property_test
@given(st.data())
def test_every_spike_and_state_equals_the_program(tmp_path: Path, data: st.DataObject) -> None:
    program = data.draw(programs(temporal=True))
    write_onnx(program, tmp_path / "network.onnx")
    level = data.draw(
        st.sampled_from([LEVELS.ORT_ENABLE_ALL, LEVELS.ORT_DISABLE_ALL])
    )  # no fusion may change a bit
    assert_equal_to_plain(
        program, open_session(tmp_path / "network.onnx", level), data.draw(frames_for(program))
    )


@property_test
@given(st.data())
def test_a_stream_in_chunks_equals_one_run(tmp_path: Path, data: st.DataObject) -> None:
    program = data.draw(programs(temporal=True))
    frames = data.draw(frames_for(program))
    frames = np.concatenate([frames, frames[:, ::-1]], 1)
    cut = data.draw(st.integers(1, frames.shape[1] - 1))
    write_onnx(program, tmp_path / "network.onnx")
    session = open_session(tmp_path / "network.onnx")
    whole = run_onnx(session, frames)
    first = run_onnx(session, frames[:, :cut])
    second = run_onnx(session, frames[:, cut:], first)
    for name, expected in whole.items():
        if name.endswith(".spikes"):
            np.testing.assert_array_equal(np.concatenate([first[name], second[name]]), expected)
        elif name == "readout" and program.readout == "spikes":
            np.testing.assert_array_equal(first[name] + second[name], expected)
        else:
            np.testing.assert_array_equal(second[name], expected)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_file_computes_what_lava_computed(tmp_path: Path, path: Path) -> None:
    write_onnx(load(path.with_suffix(".safetensors")), tmp_path / "network.onnx")
    with np.load(path, allow_pickle=False) as golden:
        found = run_onnx(open_session(tmp_path / "network.onnx"), golden["frames"])
        np.testing.assert_array_equal(found["readout"], golden["readout"])
        for name in (key.removeprefix("spikes/") for key in golden if key.startswith("spikes/")):
            np.testing.assert_array_equal(
                np.packbits(found[f"{name}.spikes"].swapaxes(0, 1)),
                golden[f"spikes/{name}"],
                err_msg=name,
            )


def one_layer(weight: int, inputs: int = 1, **fields: Any) -> Program:
    """Build a program of `inputs` pixels with one weight each into one integrator."""
    synapse = Synapse("input", "dense", np.full((1, inputs), weight, np.int16))
    settled = {
        "bias": np.zeros(1, np.int32),
        "threshold": 1000,
        "voltage_decay": 0,
        "fires": False,
        **fields,
    }
    return Program(
        (1, 1, inputs),
        255,
        (Layer("readout", (1,), (synapse,), **settled),),
        "spikes" if settled["fires"] else "membrane",
    )


@pytest.mark.parametrize(
    ("sum_in_64ths", "wrapped"),
    [
        (2**23 - 128, 2**23 - 128),
        (2**23, 2**23),
        (2**23 + 128, 128 - 2**23),
        (-(2**23), 2**23),
        (128 - 2**23, 128 - 2**23),
    ],
)
def test_the_current_wraps_where_lava_wraps_it(
    tmp_path: Path, sum_in_64ths: int, wrapped: int
) -> None:
    a = sum_in_64ths >> 6
    program = one_layer(int(np.sign(a)) * 2, 400, current_decay=4095)
    frames = np.zeros((1, 1, 1, 1, 400), np.uint8)
    frames.reshape(-1)[: abs(a) // 2 // 255] = 255
    frames.reshape(-1)[abs(a) // 2 // 255] = abs(a) // 2 % 255
    write_onnx(program, tmp_path / "network.onnx")
    states = assert_equal_to_plain(program, open_session(tmp_path / "network.onnx"), frames)
    assert states["readout"]["u"].item() == wrapped


@pytest.mark.parametrize("sign", [1, -1])
def test_the_membrane_saturates_at_the_rails(tmp_path: Path, sign: int) -> None:
    program = one_layer(254 * sign, bias=np.array([4095 * sign], np.int32))
    write_onnx(program, tmp_path / "network.onnx")
    states = assert_equal_to_plain(
        program, open_session(tmp_path / "network.onnx"), np.full((1, 4, 1, 1, 1), 255, np.uint8)
    )
    assert states["readout"]["v"].item() == sign * (2**23 - 1)


@pytest.mark.parametrize("decay", [1, 7, 977, 1365, 2048, 3072, 4095, 4096])
def test_decays_round_toward_zero_on_both_sides(tmp_path: Path, decay: int) -> None:
    states = np.unique(
        np.concatenate(
            [np.arange(-5000, 5000, 7), [2**23 - 1, 2**23 - 2, 4095, 4096, 4097, 2**12 * 1000 + 1]]
        )
    )
    states = np.concatenate([states, -states]).astype(np.int32)
    program = one_layer(2, voltage_decay=decay, current_decay=decay)
    write_onnx(program, tmp_path / "network.onnx")
    names = ["readout.v", *(["readout.u"] if decay < DECAY_ONE else [])]
    feed = {
        "x": np.zeros((1, len(states), 1, 1, 1), np.uint8),
        **dict.fromkeys(names, states[:, None]),
    }
    session = open_session(tmp_path / "network.onnx")
    found = dict(
        zip([out.name for out in session.get_outputs()], session.run(None, feed), strict=True)
    )
    decayed = np.array(
        [int(abs(v) * (4096 - decay) // 4096) * (1 if v > 0 else -1) for v in states.tolist()]
    )
    u = decayed if decay < DECAY_ONE else np.zeros_like(decayed)
    np.testing.assert_array_equal(
        found["readout.v_out"][:, 0], np.clip(decayed + u, 1 - 2**23, 2**23 - 1)
    )
    if decay < DECAY_ONE:
        np.testing.assert_array_equal(found["readout.u_out"][:, 0], u)


@pytest.mark.parametrize("crop", [0, 1])
@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(6, 2, 0), (7, 2, 0), (7, 3, 1), (8, 3, 0), (6, 1, 1)]
)
def test_what_a_stride_leaves_over_and_a_layer_crops_is_not_computed(
    tmp_path: Path, size: int, stride: int, padding: int, crop: int
) -> None:
    rng = np.random.default_rng(0)
    synapse = Synapse(
        "input",
        "conv",
        rng.integers(-9, 9, (2, 1, 3, 3)).astype(np.int16),
        (stride, 1),
        (padding, 0),
    )
    shape = (2, (size + 2 * padding - 3) // stride + 1 - crop, 3)
    layer = Layer("readout", shape, (synapse,), np.array([3, -4], np.int32), 1, 0, fires=False)
    write_onnx(Program((1, size, 5), 3, (layer,), "membrane"), tmp_path / "network.onnx")
    frames = rng.integers(0, 4, (2, 3, 1, size, 5)).astype(np.uint8)
    assert_equal_to_plain(
        Program((1, size, 5), 3, (layer,), "membrane"),
        open_session(tmp_path / "network.onnx"),
        frames,
    )


def test_the_wrap_is_left_out_only_where_no_input_can_reach_it(tmp_path: Path) -> None:
    for inputs, present in [(2, False), (3, True)]:  # 254 * 255 * 2 < 2^17 < 254 * 255 * 3
        write_onnx(one_layer(254, inputs), tmp_path / "network.onnx")
        assert (b"LessOrEqual" in (tmp_path / "network.onnx").read_bytes()) == present


def test_steps_and_batch_are_symbolic_and_weights_are_int8(tmp_path: Path) -> None:
    import onnx

    program = one_layer(-254, 3, current_decay=100, fires=True)
    write_onnx(program, tmp_path / "network.onnx", ["a"])
    session = open_session(tmp_path / "network.onnx")
    assert {i.name: i.shape for i in session.get_inputs()} == {
        "x": ["T", "B", 1, 1, 3],
        "readout.v": ["B", 1],
        "readout.u": ["B", 1],
    }
    assert {o.name: (o.type, o.shape) for o in session.get_outputs()} == {
        "readout": ("tensor(int32)", ["B", 1]),
        "readout.spikes": ("tensor(uint8)", ["T", "B", 1]),
        "readout.v_out": ("tensor(int32)", ["B", 1]),
        "readout.u_out": ("tensor(int32)", ["B", 1]),
    }
    model = onnx.load(tmp_path / "network.onnx")
    assert {i.data_type for i in model.graph.initializer if "weight" in i.name} == {
        onnx.TensorProto.INT8
    }
    assert json.loads(session.get_modelmeta().custom_metadata_map["tmkt"]) == {
        "readout": "spikes",
        "max_count": 255,
        "classes": ["a"],
    }


def test_late_spikes_are_states_and_the_file_holds_delays_not_kernels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    size = 40
    late = Synapse(
        "input",
        "dense",
        np.full((size, 64), 2, np.int16),
        delays=rng.integers(0, 63, (size, 64)).astype(np.uint8),
    )
    recurrent = Synapse(
        "a",
        "dense",
        np.full((size, size), 2, np.int16),
        delays=rng.integers(0, 31, (size, size)).astype(np.uint8),
    )
    program = Program(
        (1, 8, 8),
        1,
        (Layer("a", (size,), (late, recurrent), np.zeros(size, np.int32), 10, 2048),),
        "spikes",
    )
    write_onnx(program, tmp_path / "network.onnx")
    states = {
        i.name: (i.type, i.shape) for i in open_session(tmp_path / "network.onnx").get_inputs()
    }
    assert states["a.past_0"] == ("tensor(uint8)", ["B", 62, 1, 8, 8])
    assert states["a.past_1"] == ("tensor(uint8)", ["B", 31, size])
    assert (tmp_path / "network.onnx").stat().st_size < 2 * size * (64 + size) + 10_000


def test_the_same_program_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        write_onnx(one_layer(6, 3, fires=True), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize("voltage_decay", [0, 1000, 4096])
@pytest.mark.parametrize("current_decay", [0, 1, 2048])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_current_beyond_24_bits_wraps_at_32_like_lavas(
    tmp_path: Path, sign: int, current_decay: int, voltage_decay: int
) -> None:
    decays = {"current_decay": current_decay, "voltage_decay": voltage_decay}
    program = one_layer(254 * sign, 64, **decays, bias=np.array([-7], np.int32))
    write_onnx(program, tmp_path / "network.onnx")
    session = open_session(tmp_path / "network.onnx")
    frames = np.full((1, 40, 1, 1, 64), 255, np.uint8)
    for steps in (1, 8, 9, 40):
        states = assert_equal_to_plain(program, session, frames[:, :steps])
        assert abs(states["readout"]["u"].item()) > 2**24
    cut = run_onnx(session, frames[:, 31:], run_onnx(session, frames[:, :31]))
    assert cut["readout.u_out"].item() == states["readout"]["u"].item()


def silent_source(delays: bool) -> Program:
    """Build a program whose read-out hears the input, and layers that never fire in three ways."""
    [last] = one_layer(2).layers
    silent = replace(last, name="silent")
    [synapse] = last.synapses
    unheard = replace(synapse, source="silent", weight=np.full((1, 1), 100, np.int16))
    late = replace(unheard, delays=np.full((1, 1), 3, np.uint8)) if delays else unheard
    deaf = replace(last, name="deaf", synapses=(unheard,), bias=np.array([9], np.int32))
    last = replace(last, synapses=(unheard, synapse, late))
    return Program((1, 1, 1), 255, (silent, deaf, last), "membrane")


@pytest.mark.parametrize("delays", [False, True])
def test_a_synapse_from_a_layer_that_never_fires_adds_nothing(tmp_path: Path, delays: bool) -> None:
    program = silent_source(delays)
    write_onnx(program, tmp_path / "network.onnx")
    session = open_session(tmp_path / "network.onnx")
    assert_equal_to_plain(program, session, np.full((2, 6, 1, 1, 1), 50, np.uint8))
    assert not any("past" in state.name for state in session.get_inputs())
