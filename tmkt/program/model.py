"""The integer program: what every exact engine runs. docs/program.md gives the semantics.

A program is a list of layers in an order in which every synapse comes from an earlier layer, from
the input, or from the layer itself (recurrent). Within one time step, layer after layer, with all
states zero before the first step (Lava's fixed-point LIF, lava/proc/lif/models.py, 0.10.0):

    tz(x) = sign(x) * (|x| >> 12)
    a = sum over the layer's synapses of weight * what the source sent `delay` steps ago, one step
        more if the source is the layer itself
    u = wrap24(tz(u * (4096 - current_decay)) + (a << 6))
    v = clip24(tz(v * (4096 - voltage_decay)) + u + (bias << 6))
    s = fires and v > (threshold << 6);  v = 0 where s
"""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError

FORMAT_VERSION = 1
INPUT = "input"
MAX_WEIGHT = 254
MAX_THRESHOLD = 2**17 - 1
DECAY_ONE = 4096
BIAS_RANGE = (-4096, 4095)
MAX_NEURONS = (
    2**24
    # of a layer, and sites of the input: ours, far above any chip, so that a damaged file cannot ask
    # for all memory
)
MAX_DELAY = 62  # steps: Lava's netx clips to it (lava-dl 0.6.0, lava/lib/dl/netx/hdf5.py)
MAX_SUM = 2**23  # Lava's convolution wraps its sum to 24 bits: no program may come near


@dataclass(frozen=True)
class Synapse:
    """Weights from one source (an earlier layer's name, "input", or the name of the layer that
    holds the synapse) to that layer.

    conv: `weight` int16 [C_out, C_in / groups, K_y, K_x], with stride, padding and dilation as (y,
    x). dense: `weight` int16 [N_out, N_in] over the source flattened in C, H, W order; conv fields
    keep their defaults. `pool` k > 1: the source's spikes are first summed over k x k windows
    (stride k, remainder dropped). The area of the window is already in the weights, so this is
    average pooling. A convolution may give one row or column more than the layer's shape: the layer
    keeps the first rows and columns (`Layer.shape` decides). `delays` uint8, of a dense synapse
    alone, the weight's shape, 0..62 steps: what a source sends at step t arrives through weight [o,
    i] at step t + delays[o, i]. None: all zero. A recurrent synapse (dense, its source the layer
    itself) adds one step: with no delay, the spikes of step t arrive at t + 1. What has not arrived
    at a sample's end is lost.
    """

    source: str
    kind: Literal["conv", "dense"]
    weight: NDArray[np.int16]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    pool: int = 1
    delays: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Layer:
    """Neurons of one shape ((C, H, W) or (N,)) and the synapses that feed them.

    `bias` int32 [C] or [N]. A layer that does not fire is an integrator: its threshold is not used.
    `scale` is the integer that turned float weights into these, where known: membrane / (64 *
    scale) is the float network's membrane in units of its threshold.
    """

    name: str
    shape: tuple[int, ...]
    synapses: tuple[Synapse, ...]
    bias: NDArray[np.int32]
    threshold: int
    voltage_decay: int
    current_decay: int = DECAY_ONE
    fires: bool = True
    scale: int | None = None

    @property
    def neurons(self) -> int:
        return prod(self.shape)

    def steps_back(self, synapse: Synapse) -> int:
        """How many earlier steps of its source one of the layer's synapses needs: its longest
        delay, one more if it is recurrent.
        """
        longest = 0 if synapse.delays is None else int(synapse.delays.max(initial=0))
        return longest + (synapse.source == self.name)


@dataclass(frozen=True)
class Program:
    """The integer network. `readout` says what the last layer's answer is: its membrane after the
    last step, or its spike count.
    """

    input_shape: tuple[int, int, int]
    max_count: int
    layers: tuple[Layer, ...]
    readout: Literal["membrane", "spikes"]

    def __post_init__(self) -> None:
        check(self)

    def shape_of(self, source: str) -> tuple[int, ...]:
        """The shape of a layer by name, or of the input."""
        return (
            self.input_shape
            if source == INPUT
            else next(layer.shape for layer in self.layers if layer.name == source)
        )

    @property
    def classes(self) -> int:
        return self.layers[-1].neurons


def pooled(shape: tuple[int, ...], pool: int) -> tuple[int, ...]:
    """The shape after summing pool x pool windows."""
    return shape if pool == 1 else (shape[0], shape[1] // pool, shape[2] // pool)


def conv_shape(synapse: Synapse, source: tuple[int, ...]) -> tuple[int, int, int]:
    """The full output shape (C, H, W) of a convolution of `source`, before the layer's crop."""
    _, *size = pooled(source, synapse.pool)
    out = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(
            size,
            synapse.padding,
            synapse.dilation,
            synapse.weight.shape[2:],
            synapse.stride,
            strict=True,
        )
    ]
    return (synapse.weight.shape[0], out[0], out[1])


def largest_sum(program: Program, layer: Layer) -> int:
    """The largest |a| that any neuron of the layer can meet in one step, if every source site fired
    its most.

    Delays change nothing: a weight delivers the value of one step of its source, whichever step
    that was.
    """
    total = np.zeros(layer.bias.shape, np.int64)
    for synapse in layer.synapses:
        most = (program.max_count if synapse.source == INPUT else 1) * synapse.pool**2
        w = np.abs(synapse.weight.astype(np.int64)).reshape(synapse.weight.shape[0], -1).sum(1)
        total += most * w.reshape(len(total), -1).max(
            1
        )  # a dense synapse has rows for every neuron of a channel
    return int(total.max(initial=0))


def _require(ok: bool, name: str, found: object, expected: str) -> None:
    if not ok:
        raise InputError(
            f"program, {name}: found {found}, expected {expected}; export the network again"
        )


def _whole(*values: object) -> bool:
    return all(type(value) is int for value in values)


def _fits(shape: tuple[int, ...]) -> bool:
    return _whole(*shape) and min(shape) > 0 and prod(shape) <= MAX_NEURONS


def check(program: Program) -> None:
    """Raises InputError, naming layer, value and limit, unless shapes fit and every integer is in
    its range.
    """
    _require(len(program.layers) > 0, "layers", "none", "at least one")
    _require(
        _whole(program.max_count) and 1 <= program.max_count <= 255,
        "max_count",
        program.max_count,
        "1..255",
    )
    _require(
        len(program.input_shape) == 3 and _fits(program.input_shape),
        "input shape",
        program.input_shape,
        f"(C, H, W), at most {MAX_NEURONS} sites",
    )
    _require(
        program.readout in ("membrane", "spikes"), "readout", program.readout, "membrane or spikes"
    )
    known: dict[str, tuple[int, ...]] = {INPUT: program.input_shape}
    for layer in program.layers:
        name = f"layer {layer.name!r}"
        unique = layer.name not in known and "/" not in layer.name and layer.name != ""
        _require(unique, "layer names", layer.name, "unique, without '/'")
        fits = len(layer.shape) in (1, 3) and _fits(layer.shape)
        _require(
            fits, f"{name} shape", layer.shape, f"(C, H, W) or (N,), at most {MAX_NEURONS} neurons"
        )
        _require(
            _whole(layer.threshold) and 0 <= layer.threshold <= MAX_THRESHOLD,
            f"{name} threshold",
            layer.threshold,
            f"0..{MAX_THRESHOLD}",
        )
        for what, decay in (("voltage", layer.voltage_decay), ("current", layer.current_decay)):
            _require(
                _whole(decay) and 0 <= decay <= DECAY_ONE,
                f"{name} {what} decay",
                decay,
                f"0..{DECAY_ONE}",
            )
        _require(type(layer.fires) is bool, f"{name} fires", layer.fires, "true or false")
        _require(
            layer.scale is None or (_whole(layer.scale) and layer.scale > 0),
            f"{name} scale",
            layer.scale,
            "null or a whole number above 0",
        )
        _require(layer.bias.dtype == np.int32, f"{name} bias", layer.bias.dtype, "int32")
        _require(
            layer.bias.shape == layer.shape[:1],
            f"{name} bias shape",
            layer.bias.shape,
            str(layer.shape[:1]),
        )
        low, high = int(layer.bias.min(initial=0)), int(layer.bias.max(initial=0))
        _require(
            low >= BIAS_RANGE[0] and high <= BIAS_RANGE[1],
            f"{name} bias",
            (low, high),
            f"{BIAS_RANGE[0]}..{BIAS_RANGE[1]}",
        )
        _require(len(layer.synapses) > 0, f"{name} synapses", "none", "at least one")
        for synapse in layer.synapses:
            if synapse.source == layer.name:
                _require(
                    synapse.kind == "dense", f"{name} synapse from itself", synapse.kind, "dense"
                )
                _require(
                    layer.fires,
                    f"{name} synapse from itself",
                    "a layer that does not fire",
                    "one that fires",
                )
                _check_synapse(synapse, name, layer.shape, layer.shape)
                continue
            _require(
                synapse.source in known,
                f"{name} source",
                synapse.source,
                f"one of {list(known)} or the layer itself",
            )
            _check_synapse(synapse, name, known[synapse.source], layer.shape)
        worst = largest_sum(program, layer)
        _require(worst < MAX_SUM, f"{name} largest sum of weights", worst, f"below {MAX_SUM}")
        known[layer.name] = layer.shape
    last = program.layers[-1]
    _require(
        (program.readout == "spikes") == last.fires,
        f"layer {last.name!r}",
        f"fires = {last.fires}",
        f"one that fits a {program.readout} read-out",
    )


def _check_synapse(
    synapse: Synapse, name: str, source: tuple[int, ...], target: tuple[int, ...]
) -> None:
    _require(synapse.weight.dtype == np.int16, f"{name} weights", synapse.weight.dtype, "int16")
    w, high = synapse.weight, int(np.abs(synapse.weight.astype(np.int64)).max(initial=0))
    _require(high <= MAX_WEIGHT, f"{name} largest |weight|", high, f"at most {MAX_WEIGHT}")
    _require(
        high <= 127 or not np.any(w & 1),
        f"{name} weights",
        "odd ones above 127",
        "even ones, or none above 127 (8-bit mantissa)",
    )
    settings = (*synapse.stride, *synapse.padding, *synapse.dilation, synapse.groups, synapse.pool)
    _require(
        len(settings) == 8 and _whole(*settings),
        f"{name} synapse settings",
        settings,
        "whole numbers, two each for stride, padding, dilation",
    )
    _require(
        synapse.pool >= 1 and (synapse.pool == 1 or len(source) == 3),
        f"{name} pool",
        synapse.pool,
        "1, or more on (C, H, W)",
    )
    inner = pooled(source, synapse.pool)
    if synapse.kind == "dense":
        _require(w.ndim == 2, f"{name} weight shape", w.shape, "(N_out, N_in)")
        expected = (int(np.prod(target)), int(np.prod(inner)))
        _require(w.shape == expected, f"{name} weight shape", w.shape, str(expected))
        if synapse.delays is not None:
            d = synapse.delays
            _require(d.dtype == np.uint8, f"{name} delays", d.dtype, "uint8")
            _require(
                d.shape == w.shape,
                f"{name} shape of the delays",
                d.shape,
                f"the weight's, {w.shape}",
            )
            _require(
                int(d.max(initial=0)) <= MAX_DELAY,
                f"{name} longest delay",
                int(d.max(initial=0)),
                f"0..{MAX_DELAY} steps",
            )
        return
    _require(synapse.kind == "conv", f"{name} synapse kind", synapse.kind, "conv or dense")
    _require(
        synapse.delays is None,
        f"{name} delays",
        "some on a convolution",
        "none, as Lava delays dense synapses alone",
    )
    _require(
        w.ndim == 4 and len(source) == 3 and len(target) == 3,
        f"{name} shapes",
        (w.shape, source, target),
        "conv on (C, H, W)",
    )
    g = synapse.groups
    _require(
        g >= 1 and min(*synapse.stride, *synapse.dilation) >= 1 and min(synapse.padding) >= 0,
        f"{name} conv settings",
        synapse.stride,
        "positive",
    )
    _require(
        w.shape[0] == target[0] and w.shape[0] % g == 0 and w.shape[1] * g == source[0],
        f"{name} channels",
        w.shape,
        f"{source[0]} to {target[0]}",
    )
    full = conv_shape(synapse, source)
    crop = (full[1] - target[1], full[2] - target[2])
    _require(min(crop) >= 0, f"{name} shape", target, f"at most {full}")
    _require(_fits(full), f"{name} convolution's own shape", full, f"at most {MAX_NEURONS} sites")


LAYER_KEYS = ("name", "shape", "threshold", "voltage_decay", "current_decay", "fires", "scale")
SYNAPSE_KEYS = ("source", "kind", "stride", "padding", "dilation", "groups", "pool")


def save(program: Program, path: Path) -> None:
    """Writes `program.safetensors`: the tensors, and the graph as JSON in the header under
    "program".
    """
    from safetensors.numpy import save as to_bytes

    tensors: dict[str, NDArray[Any]] = {}
    layers = []
    for layer in program.layers:
        tensors[f"{layer.name}/bias"] = np.ascontiguousarray(layer.bias, np.int32)
        entries = []
        for i, synapse in enumerate(layer.synapses):
            tensors[f"{layer.name}/{i}/weight"] = np.ascontiguousarray(synapse.weight, np.int16)
            entries.append({key: getattr(synapse, key) for key in SYNAPSE_KEYS})
            if synapse.delays is not None:
                tensors[f"{layer.name}/{i}/delays"] = np.ascontiguousarray(synapse.delays, np.uint8)
                entries[-1]["delays"] = True
        layers.append({**{key: getattr(layer, key) for key in LAYER_KEYS}, "synapses": entries})
    graph = {
        "version": FORMAT_VERSION,
        "input_shape": program.input_shape,
        "max_count": program.max_count,
        "readout": program.readout,
        "layers": layers,
    }
    path.write_bytes(
        to_bytes(tensors, metadata={"program": json.dumps(graph)})
    )  # safetensors has an error of its own for a full disk


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }


def load(path: Path) -> Program:
    """Reads and checks `program.safetensors`. Raises InputError for a missing, damaged or newer
    file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            graph = json.loads((file.metadata() or {})["program"])
            if graph["version"] > FORMAT_VERSION:
                raise InputError(
                    f"{path}: program format {graph['version']}, this tmkt reads up to"
                    f" {FORMAT_VERSION}; update tmkt"
                )
            if not _whole(graph["version"]) or graph["version"] < 1:
                raise ValueError(f"version {graph['version']}")
            layers = []
            for entry in graph["layers"]:
                settings = dict(entry)
                synapses = []
                for i, s in enumerate(settings.pop("synapses")):
                    at = f"{entry['name']}/{i}"
                    delays = file.get_tensor(f"{at}/delays") if s.pop("delays", False) else None
                    synapses.append(
                        Synapse(**_tuples(s), weight=file.get_tensor(f"{at}/weight"), delays=delays)
                    )
                bias = file.get_tensor(f"{entry['name']}/bias")
                layers.append(Layer(**_tuples(settings), synapses=tuple(synapses), bias=bias))
            return Program(
                tuple(graph["input_shape"]), graph["max_count"], tuple(layers), graph["readout"]
            )
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; export the network again") from None
    except (
        SafetensorError,
        OSError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
    ) as error:
        raise InputError(
            f"{path}: not a readable program ({type(error).__name__}: {str(error)[:100]}); export"
            " the network again"
        ) from None
