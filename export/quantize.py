"""From a float network in NIR to the integer program: one integer scale a layer."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.float_network import FloatNetwork
from tmkt.nir_graph import Conv, Dense, Flatten, Neuron, Node, Pool
from tmkt.program import BIAS_RANGE, DECAY_ONE, INPUT, MAX_THRESHOLD, Layer, Program, Synapse

if TYPE_CHECKING:
    import nir

MARGIN = 2  # membranes may grow to this many times the largest one seen on calibration before they clip (measured: 1 clips on test data)
CALIBRATION_OPERATIONS = 4e11  # multiplications of the float network, ours: 30 recordings of VGGSNN, 12 s on one core (measured)
MAX_VOLTAGE = 2**17 - 1  # the 24-bit membrane is 64 times this


@dataclass(frozen=True)
class FloatLayer:
    """One layer of a lowered network, in float64: the weights that act on the membrane, in units of the threshold.

    `synapse` holds everything but the weights; `decay` is dt / tau, 0 for neurons that do not leak.
    """

    name: str
    shape: tuple[int, ...]
    synapse: Synapse
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    decay: float
    fires: bool


def quantize(
    graph: "nir.NIRGraph", input_shape: tuple[int, int, int], max_count: int, calibration: NDArray[np.uint8], bits: int = 8
) -> tuple[Program, list[dict[str, Any]]]:
    """Gives the integer program of a chain of convolutions, dense layers, LIF or IF neurons and pools, and a report per layer.

    Weights are integers of `bits` bits (2..8), even, at most 254 (8-bit mantissa). The scale S of a layer is the largest integer that
    keeps weights, threshold, bias and membrane within their widths; the membrane bound is MARGIN times the largest one that the float
    network reaches on `calibration`, uint8 [N, T, *input_shape]: without it an integrating read-out saturates (measured: 267 clips in
    500 recordings). The threshold becomes S exactly, as it is divided out before. Reads nothing but the calibration recordings, of which
    a network so large that all would take more than CALIBRATION_OPERATIONS meets as many as that allows, evenly drawn.

    Report: layer, bits, scale, limited_by (which of the bounds decided), largest_weight (integer), grid_used (share of the grid's levels
    that the largest weight reaches), largest_bias, weight_error_rms (relative), zero_weights (share), silent_channels (outputs without
    any non-zero weight), voltage_decay, decay_error (relative). Raises InputError for what a Loihi-style chip cannot hold.
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


def lower(network: FloatNetwork) -> list[FloatLayer]:
    """Joins each synapse with the neurons that it feeds, fuses pools into the synapse after them and crops what those pools drop."""
    layers: list[FloatLayer] = []
    nodes = network.graph.nodes
    previous, source, pool, area = network.graph.input_name, INPUT, 1, 1
    synapse: Node | None = None
    for node in nodes:
        operation = node.operation
        if node.sources != (previous,):
            raise _refuse(node, f"is fed by {list(node.sources)}", f"{previous!r} alone", "branches are not quantised, export a chain")
        previous = node.name
        if isinstance(operation, Neuron):
            if synapse is None:
                raise _refuse(node, "neurons without a synapse before them", "Conv2d, Affine or Linear there", "add one")
            layers.append(_lif_layer(synapse, node, source, pool, area))
            synapse, source, pool, area = None, node.name, 1, 1
        elif synapse is not None:
            raise _refuse(node, f"a {type(operation).__name__} after the synapse {synapse.name!r}", "LIF or IF neurons", "put neurons between")
        elif isinstance(operation, Pool):
            pool, area = pool * operation.size, area * (operation.size**2 if operation.average else 1)
        elif not isinstance(operation, Flatten):
            synapse = node
            if pool > 1 and layers:
                channels, *size = layers[-1].shape
                layers[-1] = replace(layers[-1], shape=(channels, *(n // pool * pool for n in size)))
    if synapse is not None:  # the last node: a read-out that integrates
        weight, bias = _weights(synapse)
        layers.append(FloatLayer(synapse.name, synapse.shape, _fields(synapse, source, pool), weight / area, bias, 0.0, False))
    elif not layers or previous != layers[-1].name:
        raise _refuse(nodes[-1], f"a {type(nodes[-1].operation).__name__} is the last node", "an Affine or neurons", "end the network with one")
    return layers


def _refuse(node: Node, found: str, expected: str, way_out: str) -> InputError:
    return InputError(f"NIR graph, node {node.name!r}: {found}, expected {expected}; {way_out}")


def _weights(node: Node) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    assert isinstance(node.operation, Conv | Dense)
    weight, bias = node.operation.weight.astype(np.float64), node.operation.bias.astype(np.float64)
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise _refuse(node, "infinite or undefined weights", "numbers", "train the network again")
    if not weight.any():
        raise _refuse(node, "all weights are 0", "at least one other", "the layer is dead: train the network again")
    return weight, bias


def _fields(node: Node, source: str, pool: int) -> Synapse:
    """The synapse without its weights, which come with the scale."""
    empty, operation = np.zeros(0, np.int16), node.operation
    if isinstance(operation, Conv):
        return Synapse(source, "conv", empty, operation.stride, operation.padding, operation.dilation, operation.groups, pool)
    return Synapse(source, "dense", empty, pool=pool)


def _lif_layer(synapse: Node, node: Node, source: str, pool: int, area: int) -> FloatLayer:
    neuron = node.operation
    assert isinstance(neuron, Neuron)

    def uniform(what: str, values: NDArray[np.float32]) -> float:
        if np.any(values != values.flat[0]):
            raise _refuse(node, f"{what} from {values.min()} to {values.max()}", "one value for the layer", "train with a shared one")
        return float(values.flat[0])

    for what, values in (("v_reset", neuron.reset), ("v_leak", neuron.leak)):
        if values.any():
            raise _refuse(node, f"{what} {values.flat[np.abs(values).argmax()]}", f"{what} 0", "shift membrane, threshold and bias so that it is 0")
    decay = 0.0 if neuron.decay is None else uniform("dt / tau", neuron.decay)
    if not 0 <= decay <= 1:
        raise _refuse(node, f"dt / tau = {decay:g}", "0..1", "use a smaller dt, or train with a larger tau")
    gain = uniform("r", neuron.r) * (1.0 if neuron.decay is None else decay)
    threshold = uniform("v_threshold", neuron.threshold)
    if gain <= 0:
        raise _refuse(node, f"input gain {gain:g}", "above 0", "correct r, tau or dt")
    weight, bias = _weights(synapse)
    return FloatLayer(
        node.name, node.shape, _fields(synapse, source, pool), weight * (gain / threshold / area), bias * (gain / threshold), decay, True
    )


def _quantize(layer: FloatLayer, peak: float, bits: int) -> tuple[Layer, dict[str, Any]]:
    step = 2 ** (9 - bits)
    limit = step * (2 ** (bits - 1) - 1)
    largest_bias = float(np.abs(layer.bias).max(initial=0.0))
    bounds = {"weight": limit / float(np.abs(layer.weight).max())}
    if layer.fires:
        bounds["threshold"] = float(MAX_THRESHOLD)
    if largest_bias > 0:
        bounds["bias"] = BIAS_RANGE[1] / largest_bias
    if peak > 0:
        bounds["membrane"] = MAX_VOLTAGE / (MARGIN * peak)
    limited_by = min(bounds, key=lambda what: bounds[what])
    scale = int(min(bounds[limited_by], 2.0**31))
    weight = (step * np.rint(layer.weight * (scale / step))).astype(np.int16)
    if scale < 1 or not weight.any():
        way_out = "use more bits or train the network again" if bits < 8 else "train the network again, with weight decay or a higher threshold"
        raise InputError(
            f"layer {layer.name!r}: no weight is left, its scale {bounds[limited_by]:.3g} is limited by the {limited_by}, "
            f"expected one that turns the largest weight into at least {step}; {way_out}"
        )
    decay = round(DECAY_ONE * layer.decay)
    threshold = scale if layer.fires else MAX_THRESHOLD
    bias = np.rint(layer.bias * scale).astype(np.int32)
    synapse = replace(layer.synapse, weight=weight)
    quantised = Layer(layer.name, layer.shape, (synapse,), bias, threshold, decay, fires=layer.fires, scale=scale)
    error = weight / scale - layer.weight
    largest = int(np.abs(weight).max())
    return quantised, {
        "layer": layer.name,
        "bits": bits,
        "scale": scale,
        "limited_by": limited_by,
        "largest_weight": largest,
        "grid_used": largest / limit,
        "largest_bias": int(np.abs(bias).max(initial=0)),
        "weight_error_rms": float(np.sqrt((error**2).mean() / (layer.weight**2).mean())),
        "zero_weights": float((weight == 0).mean()),
        "silent_channels": int((~weight.reshape(len(weight), -1).any(1)).sum()),
        "voltage_decay": decay,
        "decay_error": 0.0 if layer.decay == 0 else abs(decay / DECAY_ONE / layer.decay - 1),
    }
