"""The contract in code, against the independent oracle, and all engines against the contract."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from plain_program import clip24, run_plain, tz, wrap24, wrap32

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.deploy.engines.c import CEngine
from tmkt.deploy.engines.torch import TorchEngine
from tmkt.events.frames import InputContract
from tmkt.export.quantise.calibration import run_layer
from tmkt.export.targets.c import write_c, write_c_header
from tmkt.export.targets.onnx import write_onnx
from tmkt.program import arithmetic
from tmkt.program.arithmetic import BIAS_RANGE, DECAY_ONE, MAX_THRESHOLD, STATE_ONE, Neuron, State
from tmkt.program.model import INPUT, Layer, Program, Synapse
from tmkt.program.simulator.simulator import Simulator
from tmkt.train.qat.kernels import integer_forward

STEPS, NEURONS = 12, 6
DECAYS = st.one_of(st.sampled_from([0, 1, 2048, 4095, DECAY_ONE]), st.integers(0, DECAY_ONE))


@settings(max_examples=300, deadline=None)
@given(st.integers(-(2**36), 2**36), st.integers(-(2**24), 2**24))
def test_its_functions_are_the_oracles(product: int, state: int) -> None:
    assert arithmetic.tz(product) == tz(np.array(product))
    for value in (state, 2**23, -(2**23), 2**23 - 1, 2**23 + 1, 1 - 2**23):
        assert arithmetic.wrap(value) == wrap24(np.array(value))
        assert arithmetic.to_word(value << 7) == wrap32(np.array(value << 7))
        assert arithmetic.clip(value) == clip24(np.array(value))


def test_a_step_by_hand() -> None:
    leaky = Neuron(bias=-1, threshold=9, voltage_decay=1, current_decay=2048, fires=True)
    state, spikes = arithmetic.step(leaky, State(current=-101, membrane=64), a=10)
    # -101 / 2 is cut to -50; 64 * 4095 / 4096 to 63; 590 + 63 - 64 = 589 > 576
    assert (state, spikes) == (State(current=590, membrane=0), True)
    integrator = leaky._replace(fires=False)
    assert arithmetic.step(integrator, State(-101, 64), 10) == (State(590, 589), False)


@st.composite
def one_layer(
    draw: st.DrawFn, sites: tuple[int, ...] = (1, 2, 3, 64)
) -> tuple[Program, NDArray[np.uint8]]:
    """A dense layer, and frames; the largest sums of 3 sites wrap the current at 24 bits, those of
    64 sites at 32.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    inputs, fires = draw(st.sampled_from(sites)), draw(st.booleans())
    low, high = draw(st.sampled_from([BIAS_RANGE, (-20, 20), (0, 0)]))
    layer = Layer(
        "n",
        (NEURONS,),
        (Synapse(INPUT, "dense", _weights(rng, inputs)),),
        rng.integers(low, high + 1, NEURONS, np.int32),
        threshold=draw(st.one_of(st.integers(0, 2000), st.integers(0, MAX_THRESHOLD))),
        voltage_decay=draw(DECAYS),
        current_decay=draw(st.one_of(st.just(DECAY_ONE), DECAYS)),
        fires=fires,
    )
    program = Program((1, 1, inputs), 255, (layer,), "spikes" if fires else "membrane")
    frames = rng.integers(0, draw(st.sampled_from([2, 256])), (1, STEPS, 1, 1, inputs), np.uint8)
    return program, frames


def _weights(rng: np.random.Generator, inputs: int) -> NDArray[np.int16]:
    """Draw weights of both signs; two neurons have weights of one sign, for the largest sums."""
    weights = 2 * rng.integers(-127, 128, (NEURONS, inputs), np.int16)
    weights[0], weights[1] = np.abs(weights[0]), -np.abs(weights[1])
    return weights


@pytest.mark.parametrize("sign", [1, -1])
def test_a_current_without_a_decay_wraps_at_32_bits(sign: int) -> None:
    synapse = Synapse(INPUT, "dense", np.full((1, 64), 254 * sign, np.int16))
    layer = Layer("n", (1,), (synapse,), np.zeros(1, np.int32), 0, 4096, 0, fires=False)
    program = Program((1, 1, 64), 255, (layer,), "membrane")
    frames = np.full((1, 9, 1, 1, 64), 255, np.uint8)
    neuron, state = Neuron(0, 0, 4096, 0, fires=False), State()
    for step in range(9):
        state, _ = arithmetic.step(neuron, state, sign * 64 * 254 * 255)
        # eight steps add 64 * 64 * 254 * 255 - 2^24 each; the ninth passes 2^31
        assert state.membrane == (sign if step < 8 else -sign) * (2**23 - 1)
    assert state.current == sign * (9 * 64 * 64 * 254 * 255 - 8 * 2**24 - 2**32 + 2**24)
    for readout in (
        Simulator(program, threads=1).run(frames).readout,
        TorchEngine(program).run(frames).readout,
        run_plain(program, frames)[0],
    ):
        assert readout.item() == state.membrane


def by_arithmetic(
    program: Program, frames: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Spikes [T, neurons] and the membranes after each step, computed neuron by neuron."""
    [layer] = program.layers
    sums = frames[0].reshape(STEPS, -1).astype(int) @ layer.synapses[0].weight.T.astype(int)
    spikes, membranes = np.zeros((STEPS, NEURONS), np.uint8), np.zeros((STEPS, NEURONS), np.int64)
    for i in range(NEURONS):
        neuron = Neuron(
            int(layer.bias[i]),
            layer.threshold,
            layer.voltage_decay,
            layer.current_decay,
            layer.fires,
        )
        state = State()
        for t in range(STEPS):
            state, spikes[t, i] = arithmetic.step(neuron, state, int(sums[t, i]))
            membranes[t, i] = state.membrane
    return spikes, membranes


@settings(max_examples=150, deadline=None)
@given(one_layer())
def test_simulator_torch_and_calibration_compute_the_contract(
    example: tuple[Program, NDArray[np.uint8]],
) -> None:
    program, frames = example
    spikes, membranes = by_arithmetic(program, frames)
    [layer] = program.layers
    simulated, torch = Simulator(program, threads=1).run(frames), TorchEngine(program).run(frames)
    calibrated = run_layer(layer, lambda _: frames, 1, STEPS)
    np.testing.assert_array_equal(simulated.state.v[0][0], membranes[-1])
    np.testing.assert_array_equal(calibrated.membrane[0], membranes[-1])
    if layer.fires:
        for found in (simulated.spikes["n"], torch.spikes["n"], calibrated.spikes):
            np.testing.assert_array_equal(found[0], spikes)
    else:
        np.testing.assert_array_equal(torch.readout[0], membranes[-1])


@settings(max_examples=100, deadline=None)
@given(one_layer(sites=(1, 2, 3)))
def test_training_on_integers_computes_the_contract(
    example: tuple[Program, NDArray[np.uint8]],
) -> None:
    program, frames = example
    layer = program.layers[0]
    sites = frames[0].reshape(STEPS, -1).astype(int) // 2  # no current wraps in training
    sums = sites @ layer.synapses[0].weight.T.astype(int) + layer.bias
    spikes, before_reset = np.empty((2, STEPS, NEURONS), np.float32)
    kept, threshold = float(DECAY_ONE - layer.voltage_decay), float(layer.threshold * STATE_ONE)
    integer_forward(sums.astype(np.float32), kept, threshold, spikes, before_reset, 0, NEURONS)
    for i in range(NEURONS):
        neuron = Neuron(0, layer.threshold, layer.voltage_decay, DECAY_ONE, fires=True)
        state = State()
        for t in range(STEPS):
            unreset, _ = arithmetic.step(neuron._replace(fires=False), state, int(sums[t, i]))
            state, spike = arithmetic.step(neuron, state, int(sums[t, i]))
            assert (before_reset[t, i], spikes[t, i]) == (unreset.membrane, spike)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(one_layer())
def test_the_onnx_file_computes_the_contract(
    tmp_path: Path, example: tuple[Program, NDArray[np.uint8]]
) -> None:
    program, frames = example
    [layer] = program.layers
    write_onnx(program, tmp_path / "n.onnx")
    session = onnxruntime.InferenceSession(
        (tmp_path / "n.onnx").read_bytes(), providers=["CPUExecutionProvider"]
    )
    feed: dict[str, Any] = {"x": frames.swapaxes(0, 1)}
    for state in session.get_inputs()[1:]:
        feed[state.name] = np.zeros((1, *state.shape[1:]), np.int32)
    names = ["n.v_out", "n.spikes"][: 1 + layer.fires]
    found = dict(zip(names, session.run(names, feed), strict=True))
    spikes, membranes = by_arithmetic(program, frames)
    np.testing.assert_array_equal(found["n.v_out"][0], membranes[-1])
    if layer.fires:
        np.testing.assert_array_equal(found["n.spikes"][:, 0], spikes)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(one_layer())
def test_the_exported_c_computes_the_contract(
    tmp_path: Path, example: tuple[Program, NDArray[np.uint8]]
) -> None:
    program, frames = example
    [layer] = program.layers
    write_c(program, tmp_path / bundles.C_SOURCE)
    write_c_header(program, tmp_path / bundles.C_HEADER)
    files = {bundles.C_SOURCE: "", bundles.C_HEADER: ""}
    contents = {name: (tmp_path / name).read_bytes() for name in files}
    contract = InputContract((1, frames.shape[-1]), STEPS, 1000, 255)
    found = CEngine(Bundle(tmp_path, {"files": files}, contract, program, contents)).run(frames)
    spikes, membranes = by_arithmetic(program, frames)
    if layer.fires:
        np.testing.assert_array_equal(found.spikes["n"][0], spikes)
    else:
        np.testing.assert_array_equal(found.readout[0], membranes[-1])
