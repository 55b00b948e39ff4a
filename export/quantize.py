"""From a float network in NIR to the integer program: one integer scale a layer."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.export.lower import FloatLayer, lower
from tmkt.float_network import FloatNetwork
from tmkt.nir_graph import Conv, Dense
from tmkt.program import BIAS_RANGE, DECAY_ONE, MAX_THRESHOLD, Layer, Program

if TYPE_CHECKING:
    import nir

MARGIN = 2  # membranes may grow to this many times the largest one seen on calibration before they clip (measured: 1 clips on test data)
CALIBRATION_OPERATIONS = 4e11  # multiplications of the float network, ours: 30 recordings of VGGSNN, 12 s on one core (measured)
MAX_VOLTAGE = 2**17 - 1  # the 24-bit membrane is 64 times this


def quantize(
    graph: "nir.NIRGraph", input_shape: tuple[int, int, int], max_count: int, calibration: NDArray[np.uint8], bits: int = 8
) -> tuple[Program, list[dict[str, Any]]]:
    """Gives the integer program of convolutions, dense layers, LIF or IF neurons and pools, branches that add included, and a report per layer.

    Weights are integers of `bits` bits (2..8), even, at most 254 (8-bit mantissa). The scale S of a layer is the largest integer that
    keeps weights, threshold, bias and membrane within their widths; the membrane bound is MARGIN times the largest one that the float
    network reaches on `calibration`, uint8 [N, T, *input_shape]: without it an integrating read-out saturates (measured: 267 clips in
    500 recordings). The threshold becomes S exactly, as it is divided out before. Reads nothing but the calibration recordings, of which
    a network so large that all would take more than CALIBRATION_OPERATIONS meets as many as that allows, evenly drawn.

    Report: layer, bits, scale, limited_by (which of the bounds decided), largest_weight (integer), grid_used (share of the grid's levels
    that the largest weight reaches), largest_bias, weight_error_rms (relative), zero_weights (share), silent_channels (outputs without
    any non-zero weight), voltage_decay, current_decay, decay_error (relative). Raises InputError for what a Loihi-style chip cannot hold.
    """
    if not 2 <= bits <= 8:
        raise InputError(f"bits: {bits}, expected 2..8; choose --bits 8")
    if calibration.ndim != 5 or len(calibration) == 0:
        raise InputError(f"calibration: frames of shape {calibration.shape}, expected [N, T, C, H, W] with N > 0; give the training recordings")
    network = FloatNetwork(graph)
    if network.graph.input_shape != tuple(input_shape) or calibration.shape[2:] != tuple(input_shape):
        found = f"{network.graph.input_shape}, calibration frames {calibration.shape[2:]}"
        raise InputError(f"NIR graph: takes {found}, expected {tuple(input_shape)} for both; use the input that the network was trained on")
    lowered = lower(network)
    peak = network.run(_affordable(network, calibration)).peak
    layers, report = [], []
    for float_layer in lowered:
        layer, entry = _quantize(float_layer, peak[float_layer.name], bits)
        layers.append(layer)
        report.append(entry)
    return Program(input_shape, max_count, tuple(layers), "spikes" if layers[-1].fires else "membrane"), report


def _affordable(network: FloatNetwork, calibration: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As many samples as CALIBRATION_OPERATIONS allow, at least one, spread evenly: recordings are in order of their class or instance."""
    operations = 0
    for node in network.graph.nodes:
        if isinstance(node.operation, Conv | Dense):
            operations += node.operation.weight[0].size * int(np.prod(node.shape))
    most = max(1, int(CALIBRATION_OPERATIONS / max(1, operations * calibration.shape[1])))
    return calibration if len(calibration) <= most else calibration[np.arange(most) * len(calibration) // most]


def _quantize(layer: FloatLayer, peak: float, bits: int) -> tuple[Layer, dict[str, Any]]:
    step = 2 ** (9 - bits)
    limit = step * (2 ** (bits - 1) - 1)
    largest_bias = float(np.abs(layer.bias).max(initial=0.0))
    distinct = list({id(weight): weight for weight in layer.weights}.values())  # synapses from the terms of a sum share theirs
    bounds = {"weight": limit / max(float(np.abs(weight).max()) for weight in distinct)}
    if layer.fires:
        bounds["threshold"] = float(MAX_THRESHOLD)
    if largest_bias > 0:
        bounds["bias"] = BIAS_RANGE[1] / largest_bias
    if peak > 0:
        bounds["membrane"] = MAX_VOLTAGE / (MARGIN * peak)
    limited_by = min(bounds, key=lambda what: bounds[what])
    scale = int(min(bounds[limited_by], 2.0**31))
    integers = {id(weight): (step * np.rint(weight * (scale / step))).astype(np.int16) for weight in distinct}
    largest = max(int(np.abs(weight).max()) for weight in integers.values())
    if scale < 1 or largest == 0:
        way_out = "use more bits or train the network again" if bits < 8 else "train the network again, with weight decay or a higher threshold"
        raise InputError(
            f"layer {layer.name!r}: no weight is left, its scale {bounds[limited_by]:.3g} is limited by the {limited_by}, "
            f"expected one that turns the largest weight into at least {step}; {way_out}"
        )
    decay = round(DECAY_ONE * layer.decay)
    threshold = scale if layer.fires else MAX_THRESHOLD
    bias = np.rint(layer.bias * scale).astype(np.int32)
    synapses = tuple(replace(synapse, weight=integers[id(weight)]) for synapse, weight in zip(layer.synapses, layer.weights, strict=True))
    quantised = Layer(layer.name, layer.shape, synapses, bias, threshold, decay, round(DECAY_ONE * layer.current_decay), layer.fires, scale)
    weights, exact = (np.concatenate([values.reshape(len(values), -1) for values in which], 1) for which in (integers.values(), distinct))
    error = weights / scale - exact
    return quantised, {
        "layer": layer.name,
        "bits": bits,
        "scale": scale,
        "limited_by": limited_by,
        "largest_weight": largest,
        "grid_used": largest / limit,
        "largest_bias": int(np.abs(bias).max(initial=0)),
        "weight_error_rms": float(np.sqrt((error**2).mean() / (exact**2).mean())),
        "zero_weights": float((weights == 0).mean()),
        "silent_channels": int((~weights.any(1)).sum()),
        "voltage_decay": decay,
        "current_decay": round(DECAY_ONE * layer.current_decay),
        "decay_error": 0.0 if layer.decay == 0 else abs(decay / DECAY_ONE / layer.decay - 1),
    }
