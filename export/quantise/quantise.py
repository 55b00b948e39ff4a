"""Quantiser: a float network in NIR to the integer program.

Each layer has one integer scale, chosen on calibration recordings.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.export.quantise.calibration import (
    Sources,
    input_statistics,
    mean_inputs,
    run_layer,
    source_of,
)
from tmkt.export.quantise.report import (
    add_cause,
    describe_answers,
    describe_spikes,
    describe_weights,
)
from tmkt.export.quantise.rounding import WeightRounder, choose_grid
from tmkt.nir.float_network import FloatNetwork
from tmkt.nir.graph import Conv, Dense
from tmkt.nir.lower import FloatLayer, lower
from tmkt.program.arithmetic import BIAS_RANGE, DECAY_ONE, MAX_SCALE, MAX_THRESHOLD
from tmkt.program.health import Activity
from tmkt.program.model import Layer, Program, Synapse
from tmkt.program.weight_grid import WeightGrid, bits_of, scale_bounds

if TYPE_CHECKING:
    import nir

# Multiplications of the float network on all calibration recordings, ours: 7 recordings of VGGSNN.
# The whole quantisation then takes 20 s on one core (measured).
CALIBRATION_OPERATIONS = 1e11
Bytes = NDArray[np.uint8]
Doubles = NDArray[np.float64]


def quantise(
    graph: "nir.NIRGraph",
    input_shape: tuple[int, ...],
    max_count: int,
    calibration: Bytes,
    bits: int | str = 8,
    grids: Mapping[str, WeightGrid] | None = None,
    labels: NDArray[np.int64] | None = None,
) -> tuple[Program, list[dict[str, Any]]]:
    """Give the integer program of convolutions, dense layers, LIF or IF neurons and pools,
    branches that add included, and a report per layer.

    Weights are integers of `bits` bits (tmkt.program.weight_grid.bits_of: one number, one a layer,
    or by name), even, at most 254. The scale S of a layer is the integer at which its synaptic sums
    lose least on `calibration`, uint8 [N, T, *input_shape], among those that keep threshold, bias
    and membrane within their widths; weights beyond the grid are clipped, and rounded so that they
    make up for each other's errors (export/quantise/rounding.py). The threshold becomes S exactly,
    as it is divided out before. The bias takes what is left of the mean error, of this layer and of
    those before it, on the integers' own spikes. With `grids`, by layer (of a network that was
    trained on integers), these are used instead of `bits`, and each weight goes to its nearest
    level.

    Nothing but the calibration recordings is read. A network so large that all would take more than
    CALIBRATION_OPERATIONS is calibrated on as many as that allows, evenly drawn.

    The report is export/quantise/report.py's; `labels` int64 [N] of the recordings, where known,
    add accuracies to it. InputError for what a Loihi-style chip cannot hold.
    """
    if calibration.ndim != 2 + len(input_shape) or len(calibration) == 0:
        raise InputError(
            f"calibration: frames of shape {calibration.shape}, expected [N, T, *{input_shape}]"
            " with N > 0; give the training recordings"
        )
    network = FloatNetwork(graph)
    if network.graph.input_shape != tuple(input_shape) or calibration.shape[2:] != tuple(
        input_shape
    ):
        found = f"{network.graph.input_shape}, calibration frames {calibration.shape[2:]}"
        raise InputError(
            f"NIR graph: takes {found}, expected {tuple(input_shape)} for both; use the input that"
            " the network was trained on"
        )
    lowered = lower(network.graph)
    # Max pooling of spikes has no weights to round: its integers are always the same.
    names = [layer.name for layer in lowered if not layer.is_any]
    if grids is not None and set(grids) != set(names):
        found, wanted = ", ".join(grids), ", ".join(names)
        raise InputError(
            f"grids of the layers {found}, expected those of {wanted}; train again, or give --bits"
        )
    bits_of_names = [grids[name].bits for name in names] if grids else bits_of(bits, names)
    bits_by_layer = dict(zip(names, bits_of_names, strict=True))
    chosen = _affordable(network, calibration)
    frames = calibration[chosen]
    expected = network.run(frames)
    floats = source_of(frames, expected.spikes)
    own: dict[str, Bytes] = {}
    rates: dict[str, float] = {}
    activity = Activity(frames.shape[1], float((frames > 0).mean()), rates)
    layers, report = [], []
    membrane = np.zeros((len(frames), 1), np.int64)
    for float_layer in lowered:
        integers = source_of(frames, own)
        if float_layer.is_any:
            layer = any_layer(float_layer)
            entry: dict[str, Any] = {"layer": layer.name, "bits": None}
        else:
            layer, grid, limited_by, changes = _quantise_layer(
                float_layer,
                expected.peak[float_layer.name],
                bits=bits_by_layer[float_layer.name],
                grids=grids,
                floats=floats,
                integers=integers,
            )
            entry = describe_weights(float_layer, layer, grid, limited_by) | changes
        run = run_layer(layer, integers, len(frames), frames.shape[1])
        if layer.fires:
            own[layer.name] = run.spikes
            entry |= describe_spikes(expected.spikes[layer.name], run.spikes)
            add_cause(entry, layer, activity)
            rates[layer.name] = entry["spike_rate"]
        membrane = run.membrane
        layers.append(layer)
        report.append(entry)
    last = layers[-1]
    answers = (
        own[last.name].sum(1, dtype=np.int64).reshape(len(frames), -1)
        if last.fires
        else membrane / (64 * (last.scale or 1))
    )
    report[-1] |= describe_answers(
        expected.readout, answers, None if labels is None else labels[chosen]
    )
    return (
        Program(input_shape, max_count, tuple(layers), "spikes" if last.fires else "membrane"),
        report,
    )


def _affordable(network: FloatNetwork, calibration: Bytes) -> NDArray[np.int64]:
    """Choose as many samples as CALIBRATION_OPERATIONS allow, at least one, spread evenly:
    recordings are in order of their class or instance.
    """
    operations = 0
    for node in network.graph.nodes:
        if isinstance(node.operation, Conv | Dense):
            operations += node.operation.weight[0].size * int(np.prod(node.shape))
    affordable = int(CALIBRATION_OPERATIONS / max(1, operations * calibration.shape[1]))
    most = max(1, min(len(calibration), affordable))
    return np.arange(most) * len(calibration) // most


def any_layer(layer: FloatLayer) -> Layer:
    """Give the integers of a layer that fires where any input does (`FloatLayer.is_any`): weights 2
    and 0, threshold 1, no memory. Exact, whatever the float weights are.
    """
    integers = {id(weight): (2 * (weight > 0)).astype(np.int16) for weight in layer.weights}
    return Layer(
        layer.name,
        layer.shape,
        synapses=tuple(
            replace(synapse, weight=integers[id(weight)])
            for synapse, weight in zip(layer.synapses, layer.weights, strict=True)
        ),
        bias=np.zeros(layer.bias.shape, np.int32),
        threshold=1,
        voltage_decay=DECAY_ONE,
    )


def _quantise_layer(
    layer: FloatLayer,
    peak: float,
    bits: int,
    grids: Mapping[str, WeightGrid] | None,
    floats: Sources,
    integers: Sources,
) -> tuple[Layer, WeightGrid, str, dict[str, list[float]]]:
    """Give a layer's integers, their grid, what limited its scale, and the changes of its bias.

    The limit is "weight", or one of tmkt.program.weight_grid.scale_bounds. The changes, one
    number a bias each: `bias_correction` makes up for errors of the layers before (without it, the
    layer is right on the float network's spikes), `bias_for_weights` for the mean error of the
    layer's own weights. `floats` and `integers`: the float network's
    spikes, and the integers' own.
    """
    shared = _shared(layer)
    statistics = [
        None if grids else input_statistics(synapses, weight.shape, layer.shape, floats)
        for weight, synapses in shared
    ]
    rounders = [
        WeightRounder(weight, one) for (weight, _), one in zip(shared, statistics, strict=True)
    ]
    bounds = scale_bounds(float(np.abs(layer.bias).max(initial=0.0)), peak, layer.fires)
    limited_by = min(bounds, key=lambda what: bounds[what], default="weight")
    most = bounds.get(limited_by, MAX_SCALE)
    grid = grids[layer.name] if grids else choose_grid(rounders, bits, most)
    weights = [rounder.integers(grid) for rounder in rounders] if grid else []
    if grid is None or not any(weight.any() for weight in weights):
        way_out = (
            "use more bits or train the network again"
            if bits < 8
            else "train the network again, with weight decay or a higher threshold"
        )
        found = f"no weight is left, its scale {most:.3g} is limited by the {limited_by}"
        raise InputError(
            f"layer {layer.name!r}: {found}, expected one that turns the largest weight into at"
            f" least 2; {way_out}"
        )
    scale = grid.scale
    bias, on_floats = layer.bias.copy(), layer.bias.copy()
    if not grids and layer.current_decay == 1:
        for (weight, synapses), rounded, known in zip(shared, weights, statistics, strict=True):
            means = [group.mean for group in known or []]
            own = (
                means
                if any(synapse.source == layer.name for synapse in synapses)
                else mean_inputs(synapses, weight.shape, layer.shape, integers)
            )
            wanted, used = _mean_sums(weight, means), rounded / scale
            error = wanted - _mean_sums(used, own)
            bias += error.reshape(len(bias), -1).mean(1)
            error = wanted - _mean_sums(used, means)
            on_floats += error.reshape(len(bias), -1).mean(1)
    in_synapses = {
        id(synapse): weight
        for (_, synapses), weight in zip(shared, weights, strict=True)
        for synapse in synapses
    }
    quantised = Layer(
        layer.name,
        layer.shape,
        synapses=tuple(
            replace(synapse, weight=in_synapses[id(synapse)]) for synapse in layer.synapses
        ),
        bias=np.clip(np.rint(bias * scale), -BIAS_RANGE[1], BIAS_RANGE[1]).astype(np.int32),
        threshold=scale if layer.fires else MAX_THRESHOLD,
        voltage_decay=round(DECAY_ONE * layer.decay),
        current_decay=round(DECAY_ONE * layer.current_decay),
        fires=layer.fires,
        scale=scale,
    )
    largest = max(float(np.abs(weight).max()) for weight, _ in shared)
    scale_is_bound = scale == int(most)
    bound_is_weight = int(most) == int(grid.limit / largest)
    step_is_reduced = not grids and grid.step < 2 ** (9 - bits)
    limited = (scale_is_bound and not bound_is_weight) or step_is_reduced
    changes = {
        "bias_correction": quantised.bias - on_floats * scale,
        "bias_for_weights": (on_floats - layer.bias) * scale,
    }
    told = {name: [round(float(n), 2) for n in values] for name, values in changes.items()}
    return quantised, grid, limited_by if limited else "weight", told


def _shared(layer: FloatLayer) -> list[tuple[Doubles, list[Synapse]]]:
    """Give each weight array once, with the synapses that have it: those from the terms of a sum
    share theirs.
    """
    found: dict[int, tuple[Doubles, list[Synapse]]] = {}
    for synapse, weight in zip(layer.synapses, layer.weights, strict=True):
        found.setdefault(id(weight), (weight, []))[1].append(synapse)
    return list(found.values())


def _mean_sums(weight: NDArray[Any], means: list[Doubles]) -> Doubles:
    """Compute the mean synaptic sum of each row from the mean inputs of each group."""
    rows = weight.reshape(len(means), len(weight) // len(means), -1)
    return np.concatenate([group @ mean for group, mean in zip(rows, means, strict=True)])
