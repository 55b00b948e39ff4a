"""Tests of the trace against two counts that share no code with the simulator's tables."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_program import run_plain, synaptic_sum
from random_programs import frames_for, programs

from tmkt.deploy.trace import Trace, count, join
from tmkt.errors import InputError
from tmkt.program.model import INPUT, Layer, Program, Synapse


def by_convolution_of_ones(
    program: Program, frames: np.ndarray, spikes: dict[str, np.ndarray], layer: Layer, nonzero: bool
) -> np.ndarray:
    """Synaptic operations [N, T]: what a layer would sum up if every weight (that is not zero) were
    one and arrived at once, so that in a step that repeats itself a recurrent synapse delivers what
    the same step sent.
    """
    ones = tuple(
        replace(
            s,
            weight=(s.weight != 0).astype(np.int16) if nonzero else np.ones_like(s.weight),
            delays=None,
        )
        for s in layer.synapses
    )
    out = np.zeros(frames.shape[:2], np.int64)
    for n, t in np.ndindex(out.shape):
        values = {other.name: np.zeros(other.shape, np.int64) for other in program.layers}
        values |= {
            INPUT: (frames[n, t] > 0).astype(np.int64),
            **{name: s[n, t].astype(np.int64) for name, s in spikes.items()},
        }
        out[n, t] = synaptic_sum(replace(layer, synapses=ones), [values, values]).sum()
    return out


def by_enumeration(source: np.ndarray, synapse: Synapse, shape: tuple[int, ...]) -> int:
    """Every (spiking site, weight) pair of one synapse in one step, one after another."""
    operations, pool = 0, synapse.pool
    _, height, width = source.shape
    out, per_in, ky, kx = synapse.weight.shape
    for c, y, x in zip(*np.nonzero(source), strict=True):
        if y // pool >= height // pool or x // pool >= width // pool:
            continue
        for target in range(out):
            if target // (out // synapse.groups) != c // per_in:
                continue
            for oy, ox in np.ndindex(shape[1], shape[2]):
                rows = [
                    oy * synapse.stride[0] - synapse.padding[0] + k * synapse.dilation[0]
                    for k in range(ky)
                ]
                columns = [
                    ox * synapse.stride[1] - synapse.padding[1] + k * synapse.dilation[1]
                    for k in range(kx)
                ]
                operations += rows.count(y // pool) * columns.count(x // pool)
    return operations


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_synaptic_operations_equal_a_convolution_of_ones(data: st.DataObject) -> None:
    program = data.draw(programs(temporal=True))
    frames = data.draw(frames_for(program))
    _, spikes, _ = run_plain(program, frames)
    trace = count(program, frames, spikes)
    for layer, counted in zip(program.layers, trace.layers, strict=True):
        np.testing.assert_array_equal(
            counted.synops, by_convolution_of_ones(program, frames, spikes, layer, nonzero=False)
        )
        np.testing.assert_array_equal(
            counted.nonzero_synops,
            by_convolution_of_ones(program, frames, spikes, layer, nonzero=True),
        )
        sources = {s.source for s in layer.synapses}
        arrays = [
            frames if name == INPUT else spikes[name]
            for name in sources
            if name == INPUT or name in spikes
        ]
        np.testing.assert_array_equal(
            counted.source_spikes,
            sum((a > 0).reshape(*frames.shape[:2], -1).sum(2) for a in arrays),
        )
        own = (
            spikes[layer.name].reshape(*frames.shape[:2], -1).sum(2)
            if layer.fires
            else np.zeros(frames.shape[:2])
        )
        np.testing.assert_array_equal(counted.spikes, own)
        assert (counted.updates == layer.neurons).all()


@pytest.mark.parametrize(
    "synapse",
    [
        Synapse(INPUT, "conv", np.ones((2, 4, 3, 3), np.int16), padding=(1, 1)),
        Synapse(
            INPUT, "conv", np.ones((2, 4, 3, 2), np.int16), stride=(2, 1), padding=(1, 0), pool=2
        ),
        Synapse(
            INPUT, "conv", np.ones((4, 2, 2, 3), np.int16), stride=(1, 2), dilation=(2, 1), groups=2
        ),
        Synapse(INPUT, "conv", np.ones((4, 1, 3, 3), np.int16), padding=(2, 2), groups=4, pool=3),
    ],
    ids=[
        "plain",
        "pool and stride",
        "groups and dilation",
        "depthwise over a pool that drops rows",
    ],
)
def test_synaptic_operations_equal_an_enumeration_of_every_pair(synapse: Synapse) -> None:
    frames = (np.random.default_rng(0).random((1, 3, 4, 8, 7)) < 0.3).astype(np.uint8)
    shape = (synapse.weight.shape[0], 2, 2)  # less than the convolution gives: cropped
    program = Program(
        (4, 8, 7),
        1,
        (Layer("last", shape, (synapse,), np.zeros(shape[0], np.int32), 0, 0, fires=False),),
        "membrane",
    )
    counted = count(program, frames, {}).layers[0].synops[0]
    assert counted.tolist() == [by_enumeration(step, synapse, shape) for step in frames[0]]
    assert counted.min() > 0


def test_a_count_above_one_is_one_graded_spike() -> None:
    program = Program(
        (1, 1, 1),
        9,
        (
            Layer(
                "n",
                (3,),
                (Synapse(INPUT, "dense", np.array([[2], [0], [4]], np.int16)),),
                np.zeros(3, np.int32),
                0,
                0,
            ),
        ),
        "spikes",
    )
    layer = count(
        program, np.full((1, 1, 1, 1, 1), 9, np.uint8), {"n": np.zeros((1, 1, 3), np.uint8)}
    ).layers[0]
    assert (
        layer.source_spikes.item(),
        layer.synops.item(),
        layer.nonzero_synops.item(),
        layer.updates.item(),
    ) == (1, 3, 2, 3)


def test_a_late_or_recurrent_synapse_counts_when_the_spike_is_sent() -> None:
    late = Synapse(
        INPUT, "dense", np.full((2, 1), 2, np.int16), delays=np.array([[1], [62]], np.uint8)
    )
    recurrent = Synapse(
        "n", "dense", np.array([[0, 2], [2, 2]], np.int16), delays=np.full((2, 2), 5, np.uint8)
    )
    program = Program(
        (1, 1, 1), 1, (Layer("n", (2,), (late, recurrent), np.zeros(2, np.int32), 0, 0),), "spikes"
    )
    frames = np.array([1, 0, 0, 1], np.uint8).reshape(1, 4, 1, 1, 1)
    spikes = run_plain(program, frames)[1]
    assert spikes["n"][0].tolist() == [[0, 0], [1, 0], [0, 0], [0, 0]]
    layer = count(program, frames, spikes).layers[0]
    assert layer.synops[0].tolist() == [2, 2, 0, 2]
    assert layer.nonzero_synops[0].tolist() == [2, 1, 0, 2]
    assert layer.source_spikes[0].tolist() == [1, 1, 0, 1]
    assert layer.spikes[0].tolist() == [0, 1, 0, 0]


def example() -> tuple[Program, np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(3)
    first = Layer(
        "a",
        (3, 4, 4),
        (
            Synapse(
                INPUT, "conv", rng.integers(-9, 9, (3, 2, 3, 3)).astype(np.int16), padding=(1, 1)
            ),
        ),
        np.zeros(3, np.int32),
        5,
        100,
    )
    last = Layer(
        "b",
        (2,),
        (Synapse("a", "dense", rng.integers(-9, 9, (2, 12)).astype(np.int16), pool=2),),
        np.zeros(2, np.int32),
        0,
        0,
        fires=False,
    )
    program = Program((2, 4, 4), 1, (first, last), "membrane")
    frames = (rng.random((5, 3, 2, 4, 4)) < 0.3).astype(np.uint8)
    return program, frames, run_plain(program, frames)[1]


def test_batches_joined_equal_the_whole() -> None:
    program, frames, spikes = example()
    whole = count(program, frames, spikes)
    joined = join(
        count(program, frames[i : i + 2], {k: s[i : i + 2] for k, s in spikes.items()})
        for i in range(0, 5, 2)
    )
    assert joined.to_json() == whole.to_json()


def test_the_report_gives_means_and_spread_over_the_samples() -> None:
    program, frames, spikes = example()
    trace: Trace = count(program, frames, spikes)
    report = trace.to_json()
    synops = trace.per_sample("synops")
    assert (report["samples"], report["steps"]) == (5, 3)
    assert report["synops_per_sample"] == pytest.approx(synops.mean())
    assert report["synops_sd"] == pytest.approx(np.std(synops, ddof=1))
    assert sum(layer["synops_per_sample"] for layer in report["layers"]) == pytest.approx(
        synops.mean()
    )
    assert report["updates_per_sample"] == 3 * (48 + 2)
    assert report["spikes_per_sample"] == pytest.approx(spikes["a"].sum() / 5)
    assert sum(report["layers"][0]["synops_per_step"]) == pytest.approx(
        trace.layers[0].synops.sum() / 5
    )
    assert (
        count(program, frames[:1], {k: s[:1] for k, s in spikes.items()}).to_json()["synops_sd"]
        is None
    )


def test_an_engine_without_spikes_cannot_be_counted() -> None:
    program, frames, _ = example()
    with pytest.raises(InputError, match="layer 'a'"):
        count(program, frames, {})
