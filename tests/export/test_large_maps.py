"""Large maps: calibration and Lava's form hold no more at a time than stated."""

import tracemalloc

import numpy as np
import pytest
from example_bundles import SHAPE, example_frames, example_parts

from tmkt.errors import InputError
from tmkt.events.frames import MAX_FRAME_BYTES, InputContract, events_to_frames
from tmkt.events.types import Events
from tmkt.export.quantise import calibration
from tmkt.export.quantise.calibration import mean_inputs, run_layer, source_of
from tmkt.nir import float_network
from tmkt.nir.float_network import FloatNetwork
from tmkt.nir.tiles import tiles
from tmkt.program.lava_form import MAX_UNROLLED, unroll
from tmkt.program.model import Layer, Synapse


@pytest.mark.parametrize(("size", "most"), [((5, 7), 1), ((5, 7), 3), ((5, 7), 15), ((1, 9), 99)])
def test_tiles_cover_a_map_once(size: tuple[int, int], most: int) -> None:
    covered = np.zeros(size, int)
    for tile in tiles(*size, most):
        assert covered[tile].size <= most
        covered[tile] += 1
    assert (covered == 1).all()


def test_networks_run_alike_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, program, _ = example_parts()
    frames = example_frames(3)
    whole = FloatNetwork(graph).run(frames)
    layer = program.layers[0]
    ran = run_layer(layer, source_of(frames, {}), *frames.shape[:2])
    monkeypatch.setattr(float_network, "_TILE_BYTES", 1)
    monkeypatch.setattr(calibration, "_CHUNK_BYTES", 1)
    parted = FloatNetwork(graph).run(frames)
    np.testing.assert_allclose(parted.readout, whole.readout, rtol=1e-5, atol=1e-5)
    again = run_layer(layer, source_of(frames, {}), *frames.shape[:2])
    np.testing.assert_array_equal(again.spikes, ran.spikes)
    assert ran.spikes.any()


def test_the_inputs_of_a_large_kernel_are_not_unrolled_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All at once: 31 x 31 x 2 inputs of each of 98 x 98 neurons, 74 MB of float32 a step."""
    monkeypatch.setattr(calibration, "_CHUNK_BYTES", 2**20)
    monkeypatch.setattr(calibration, "_ROW_BYTES", 2**20)
    monkeypatch.setattr(float_network, "_TILE_BYTES", 2**20)
    rng = np.random.default_rng(0)
    weight = rng.integers(-2, 3, (1, 2, 31, 31)).astype(np.int16)
    synapse = Synapse("input", "conv", weight)
    shape = (1, 98, 98)
    layer = Layer("a", shape, (synapse,), np.zeros(1, np.int32), 100, 2048)
    frames = (rng.random((1, 2, 2, 128, 128)) < 0.2).astype(np.uint8)
    sources = source_of(frames, {})
    tracemalloc.start()
    try:
        [mean] = mean_inputs([synapse], weight.shape, shape, sources)
        spikes = run_layer(layer, sources, 1, 2).spikes
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**23
    assert spikes.any()
    np.testing.assert_allclose(mean, 0.2, atol=0.1)  # evenly drawn over the map


def test_frames_of_impossible_size_are_refused() -> None:
    contract = InputContract((2048, 2048), 10_000, 1000, 1)
    empty = np.zeros(0, np.int64)
    nothing = Events(empty, empty.astype("u2"), empty.astype("u2"), empty.astype("u1"), SHAPE[1:])
    with pytest.raises(InputError, match=f"2048x2048.*83886080000.*at most {MAX_FRAME_BYTES}"):
        events_to_frames(nothing, contract)


@pytest.mark.parametrize(
    ("synapse", "source", "target"),
    [
        (
            Synapse("input", "dense", np.ones((10, 4), np.int16), pool=2**11),
            (4, 2**11, 2**11),
            (10,),
        ),
        (
            Synapse("input", "conv", np.ones((1, 1, 3, 3), np.int16), pool=2**12),
            (1, 2**14, 2**14),
            (1, 2, 2),
        ),
        (
            Synapse("input", "conv", np.ones((1, 1, 1, 1), np.int16)),
            (1, 2**14, 2**14),
            (1, 1, 1),
        ),
        (
            Synapse(
                "input", "conv", np.ones((1, 1, 2, 2), np.int16), (2, 2), (0, 0), (2**13, 2**13)
            ),
            (1, 2**14, 2**14),
            (1, 1, 1),
        ),
    ],
)
def test_weights_that_lava_would_hold_by_the_gigabyte_are_refused(
    synapse: Synapse, source: tuple[int, ...], target: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match=f"weights when unrolled .* at most {MAX_UNROLLED}"):
        unroll(synapse, source, target)


def test_a_dilation_alone_takes_no_more_weights() -> None:
    synapse = Synapse(
        "input", "conv", np.ones((1, 1, 2, 2), np.int16), (1, 1), (0, 0), (2**13, 2**13)
    )
    side = 2**13 + 1
    unrolled = unroll(synapse, (1, side, side), (1, 1, 1))
    assert (unrolled.weight.shape, unrolled.dilation) == ((1, 1, 2, 2), (2**13, 2**13))
