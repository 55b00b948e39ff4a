"""Programs, and the faults that can be planted in their exported ONNX graph: for parity to find."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tmkt.export.targets.onnx import write_onnx
from tmkt.program.model import Layer, Program, Synapse

STEPS, SAMPLES = 8, 12
READOUT_THRESHOLD = 100


def small_program() -> Program:
    """Small weights, so that membranes meet the threshold exactly now and then; the second layer
    remembers its current, the read-out leaks.
    """
    rng = np.random.default_rng(5)
    conv1 = Synapse(
        "input", "conv", rng.integers(-4, 7, (4, 2, 3, 3)).astype(np.int16), padding=(1, 1)
    )
    conv2 = Synapse(
        "conv1", "conv", rng.integers(-5, 7, (5, 4, 3, 3)).astype(np.int16), padding=(1, 1), pool=2
    )
    dense = Synapse("conv2", "dense", rng.integers(-90, 90, (3, 5 * 4 * 5)).astype(np.int16))
    layers = (
        Layer("conv1", (4, 8, 10), (conv1,), np.array([1, -1, 2, 0], np.int32), 12, 2048),
        Layer("conv2", (5, 4, 5), (conv2,), np.array([2, 1, 0, -1, 3], np.int32), 20, 1365, 3000),
        Layer("readout", (3,), (dense,), np.array([5, -7, 9], np.int32), 131071, 100, fires=False),
    )
    return Program((2, 8, 10), 1, layers, "membrane")


def loud_program() -> Program:
    """Event counts up to 255 and large weights: currents wrap, membranes meet their limits."""
    rng = np.random.default_rng(6)
    conv1 = Synapse(
        "input",
        "conv",
        (2 * rng.integers(-127, 128, (4, 2, 3, 3))).astype(np.int16),
        padding=(1, 1),
    )
    dense = Synapse("conv1", "dense", rng.integers(-90, 90, (3, 4 * 8 * 10)).astype(np.int16))
    layers = (
        Layer("conv1", (4, 8, 10), (conv1,), np.array([1, -1, 2, 0], np.int32), 2000, 100),
        Layer("readout", (3,), (dense,), np.zeros(3, np.int32), 131071, 0, fires=False),
    )
    return Program((2, 8, 10), 255, layers, "membrane")


def frames_of(program: Program) -> NDArray[np.uint8]:
    rng = np.random.default_rng(7)
    shape = (SAMPLES, STEPS, *program.input_shape)
    return ((rng.random(shape) < 0.25) * rng.integers(1, program.max_count + 1, shape)).astype(
        np.uint8
    )


def temporal_program() -> Program:
    """Build a program with a recurrent layer, one of whose synapses has delays."""
    rng = np.random.default_rng(8)
    weight = [
        rng.integers(-30, 40, shape).astype(np.int16) for shape in ((20, 160), (20, 20), (3, 20))
    ]
    delays = rng.integers(0, 4, (20, 160)).astype(np.uint8)
    synapses = (
        Synapse("input", "dense", weight[0], delays=delays),
        Synapse("hidden", "dense", weight[1]),
    )
    hidden = Layer("hidden", (20,), synapses, np.zeros(20, np.int32), 300, 1000)
    readout = Layer(
        "readout",
        (3,),
        (Synapse("hidden", "dense", weight[2]),),
        np.zeros(3, np.int32),
        131071,
        0,
        fires=False,
    )
    return Program((2, 8, 10), 1, (hidden, readout), "membrane")


class Graph:
    """An exported ONNX graph to be altered."""

    def __init__(self, path: Path) -> None:
        self.model = onnx.load(path)
        self.graph = self.model.graph

    def constant(self, value: Any, dtype: Any = np.int32) -> str:
        name = f"planted_{len(self.graph.initializer)}"
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def body(self, layer: str) -> Any:
        node = next(n for n in self.graph.node if n.name == f"{layer} steps")
        return next(a.g for a in node.attribute if a.name == "body")

    def put(self, graph: Any, at: Any, *nodes: Any) -> None:
        """Puts nodes in place of one."""
        kept = list(graph.node)
        i = next(i for i, n in enumerate(kept) if n.name == at.name)
        del graph.node[:]
        graph.node.extend([*kept[:i], *nodes, *kept[i + 1 :]])

    def put_before(self, reader: Any, source: str, change: Callable[[str], list[Any]]) -> None:
        """Lets one node of the main graph read what `change` makes of `source`; the last node that
        it gives is read.
        """
        nodes = change(source)
        old = copy.deepcopy(reader)
        reader.input[list(reader.input).index(source)] = nodes[-1].output[0]
        self.put(self.graph, old, *nodes, copy.deepcopy(reader))

    def shifted(self, source: str, by: int) -> list[Any]:
        """Nodes that give a tensor of [T, ...] one step later (by = 1) or earlier (-1), with zeros
        where nothing is known.
        """
        axis, zero, one, last, end = (self.constant([n], np.int64) for n in (0, 0, 1, -1, 2**31))
        kept = (zero, last) if by == 1 else (one, end)
        nodes = [
            helper.make_node("Slice", [source, *kept, axis], ["planted/kept"]),
            helper.make_node("Slice", [source, zero, one, axis], ["planted/step"]),
            helper.make_node("Sub", ["planted/step", "planted/step"], ["planted/none"]),
        ]
        order = ["planted/none", "planted/kept"] if by == 1 else ["planted/kept", "planted/none"]
        return [*nodes, helper.make_node("Concat", order, ["planted/shifted"], axis=0)]

    def reader(self, source: str, op: str) -> Any:
        return next(n for n in self.graph.node if source in n.input and n.op_type == op)

    def weights(self, name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        tensor = next(t for t in self.graph.initializer if t.name == name)
        tensor.CopyFrom(
            numpy_helper.from_array(
                np.ascontiguousarray(change(numpy_helper.to_array(tensor))), name
            )
        )


def node(graph: Any, op: str, number: int = 0) -> Any:
    """Return the graph's first node of a kind, or the one at an index; -1 is the last."""
    return [n for n in graph.node if n.op_type == op][number]


def fires_at_threshold(g: Graph) -> None:
    node(g.body("conv1"), "ThresholdedRelu").attribute[0].f -= 0.5  # membranes are whole numbers


def rounds(by: int) -> Callable[[Graph], None]:
    """Decays of the read-out as floor((x * kept + by) / 4096): down (by = 0), or to the nearest
    (2048).
    """

    def plant(g: Graph) -> None:
        body = g.body("readout")
        product = node(body, "Mul")
        nodes = [
            helper.make_node("Mul", list(product.input), ["planted/product"]),
            helper.make_node(
                "Add", ["planted/product", g.constant(by / 4096, np.float64)], ["planted/sum"]
            ),
            helper.make_node("Floor", ["planted/sum"], list(product.output)),
        ]
        g.put(body, product, *nodes)

    return plant


def no_membrane_limit(g: Graph) -> None:
    clip = node(g.body("conv1"), "Clip")
    g.put(g.body("conv1"), clip, helper.make_node("Identity", [clip.input[0]], list(clip.output)))


def membrane_wraps(g: Graph) -> None:
    clip = node(g.body("conv1"), "Clip")
    half, whole = g.constant(2**23), g.constant(2**24)
    nodes = [
        helper.make_node("Cast", [clip.input[0]], ["planted/v"], to=onnx.TensorProto.INT32),
        helper.make_node("Add", ["planted/v", half], ["planted/up"]),
        helper.make_node("Mod", ["planted/up", whole], ["planted/mod"]),
        helper.make_node("Sub", ["planted/mod", half], ["planted/wrapped"]),
        helper.make_node("Cast", ["planted/wrapped"], list(clip.output), to=onnx.TensorProto.FLOAT),
    ]
    g.put(g.body("conv1"), clip, *nodes)


def current(how: str) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        wrap = node(g.graph, "Where", -1)  # where(above, x - 2^24, where(below, x + 2^24, x))
        above = next(n for n in g.graph.node if n.output[0] == wrap.input[0])
        limits = (
            [g.constant(sign * (2**23 - 1), np.float32) for sign in (-1, 1)]
            if how == "saturates"
            else []
        )
        g.put(
            g.graph,
            wrap,
            helper.make_node(
                "Clip" if limits else "Identity", [above.input[0], *limits], list(wrap.output)
            ),
        )

    return plant


def resets(how: str) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        body = g.body("conv2")
        reset = node(body, "Sub", -1)  # of all that a membrane over the threshold has
        v, over = reset.input
        zero, one, threshold = (g.constant(value, np.float32) for value in (0, 1, 20 << 6))
        if how == "none":
            g.put(body, reset, helper.make_node("Identity", [v], list(reset.output)))
        else:
            fired = helper.make_node("Clip", [over, zero, one], ["planted/fired"])
            less = helper.make_node("Mul", ["planted/fired", threshold], ["planted/less"])
            g.put(
                body,
                reset,
                fired,
                less,
                helper.make_node("Sub", [v, "planted/less"], list(reset.output)),
            )

    return plant


def readout_fires(g: Graph) -> None:
    body = g.body("readout")
    clip = node(body, "Clip")
    nodes = [
        helper.make_node("Clip", list(clip.input), ["planted/v"]),
        helper.make_node(
            "ThresholdedRelu", ["planted/v"], ["planted/over"], alpha=float(READOUT_THRESHOLD << 6)
        ),
        helper.make_node("Sub", ["planted/v", "planted/over"], list(clip.output)),
    ]
    g.put(body, clip, *nodes)


def input_shifted(source: str, by: int) -> Callable[[Graph], None]:
    def plant(g: Graph) -> None:
        cast = helper.make_node("Cast", [source], ["planted/x"], to=onnx.TensorProto.FLOAT)
        back = helper.make_node(
            "Cast",
            ["planted/shifted"],
            ["planted/back"],
            to=onnx.TensorProto.UINT8 if source == "x" else onnx.TensorProto.FLOAT,
        )
        g.put_before(
            g.reader(source, "Reshape"), source, lambda _: [cast, *g.shifted("planted/x", by), back]
        )

    return plant


def layer_late(g: Graph) -> None:
    scan = next(n for n in g.graph.node if n.name == "conv1 steps")
    g.put_before(scan, scan.input[-1], lambda source: g.shifted(source, 1))


def weights(name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[Graph], None]:
    return lambda g: g.weights(name, change)


def channels_last(weight: NDArray[Any]) -> NDArray[Any]:
    """Reorder weights [N_in, N_out] as for a source [5, 4, 5] that is flattened as H, W, C."""
    return weight.reshape(4, 5, 5, 3).transpose(2, 0, 1, 3).reshape(weight.shape)


PLANTED = {
    "at the threshold": (fires_at_threshold, "conv1", "threshold rule", ">="),
    "rounds down": (rounds(0), "readout", "rounding", "floor"),
    "rounds to the nearest": (rounds(2048), "readout", "rounding", "nearest"),
    "soft reset": (resets("subtract"), "conv2", "reset", "subtracts"),
    "no reset": (resets("none"), "conv2", "reset", "does not reset"),
    "input late": (input_shifted("x", 1), "conv1", "delay", "input comes one step too late"),
    "input early": (input_shifted("x", -1), "conv1", "delay", "input comes one step too early"),
    "a delay between layers": (
        input_shifted("conv1/spikes", 1),
        "conv2",
        "delay",
        "input comes one step too late",
    ),
    "late into the read-out": (
        input_shifted("conv2/spikes", 1),
        "readout",
        "delay",
        "input comes one step too late",
    ),
    "layer late": (layer_late, "conv1", "delay", "layer runs one step too late"),
    "kernel flipped": (
        weights("conv2.weight_0", lambda w: w[:, :, ::-1, ::-1]),
        "conv2",
        "kernel flip",
        "both axes",
    ),
    "kernel flipped in y": (
        weights("conv1.weight_0", lambda w: w[:, :, ::-1]),
        "conv1",
        "kernel flip",
        "in y",
    ),
    "kernel flipped in x": (
        weights("conv1.weight_0", lambda w: w[..., ::-1]),
        "conv1",
        "kernel flip",
        "in x",
    ),
    "kernel transposed": (
        weights("conv2.weight_0", lambda w: w.swapaxes(2, 3)),
        "conv2",
        "axis order",
        "swapped",
    ),
    "flattened in another order": (
        weights("readout.weight_0", channels_last),
        "readout",
        "axis order",
        "H, W, C",
    ),
    "polarities swapped": (
        weights("conv1.weight_0", lambda w: w[:, ::-1]),
        "conv1",
        "polarity",
        "swapped",
    ),
    "weights halved": (
        weights("conv1.weight_0", lambda w: w >> 1),
        "conv1",
        "weight scale",
        "halved",
    ),
    "weights doubled": (
        weights("conv2.weight_0", lambda w: w << 1),
        "conv2",
        "weight scale",
        "doubled",
    ),
    "no bias": (weights("readout.bias", np.zeros_like), "readout", "bias", "not added"),
}
LOUD = {
    "no limit of the membrane": (no_membrane_limit, "conv1", "saturation", "membrane has no limit"),
    "membrane wraps": (membrane_wraps, "conv1", "saturation", "membrane wraps"),
    "no wrap of the current": (current("unbounded"), "conv1", "saturation", "current has no limit"),
    "current saturates": (current("saturates"), "conv1", "saturation", "current saturates"),
}


def altered(program: Program, plant: Callable[[Graph], None]) -> Callable[[Path], None]:
    def writer(path: Path) -> None:
        write_onnx(program, path)
        graph = Graph(path)
        plant(graph)
        onnx.save(graph.model, path)

    return writer
