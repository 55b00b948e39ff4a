"""Write the float network of a NIR graph as an ONNX graph that carries its states."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper

from tmkt.bundle import ONNX_FLOAT
from tmkt.errors import InputError
from tmkt.export.targets.onnx_parts import Graph, Nodes
from tmkt.nir.errors import kind
from tmkt.nir.graph import Conv, Delay, Dense, Floats, Neuron, Node, OrderedGraph, Pool, Scale
from tmkt.nir.order import order

if TYPE_CHECKING:
    import nir


def float_to_onnx(graph: "nir.NIRGraph") -> "FloatGraph":
    """Give the ONNX graph that computes what `FloatNetwork` does, ready to be written.

    InputError for a graph that FloatNetwork cannot run, and for one with currents, integrators
    that are not affine, delays, scales or loops, whose states this form does not carry.
    """
    ordered = order(graph)
    for node in ordered.nodes:
        _check(node)
    return FloatGraph(ordered)


def _check(node: Node) -> None:
    operation = node.operation
    found = None
    if node.past:
        found = "is in a loop"
    elif isinstance(operation, Neuron):
        if operation.current_decay is not None or not operation.fires:
            found = "has a current or never fires"
    elif isinstance(operation, Delay | Scale):
        found = f"is {kind(operation)}"
    if found:
        raise InputError(
            f"NIR graph, node {node.name!r}: {found}, expected LIF or IF neurons and synapses; run"
            f" network.nir instead of {ONNX_FLOAT}"
        )


class FloatGraph(Graph):
    """The graph of `network-float.onnx` (opset 21).

    Inputs: `x` uint8 [T, B, C, H, W], and the states, zeros to start a sample: `<neuron node>.v`
    float32 [B, *shape], and `readout.sum` [B, K]. Outputs: `readout` float32 [B, K], the last
    node's outputs summed over all steps so far (spike counts where it spikes); `<neuron
    node>.spikes` uint8 [T, B, *shape]; every state as `<state>_out`. T and B are symbolic.

    Sums are float32 in whatever order ONNX Runtime adds them, so that a spike at a tie may differ
    from other float engines.
    """

    def __init__(self, graph: OrderedGraph) -> None:
        super().__init__(graph.input_shape)
        values = {graph.input_name: self.as_float("x", graph.input_shape)}
        for node in graph.nodes:
            x = values[node.sources[0]]
            for source in node.sources[1:]:
                x = self.main.add("Add", x, values[source])
            values[node.name] = self._node(node, x)
        last = graph.nodes[-1]
        self._readout(values[last.name], int(np.prod(last.shape)))
        self._kind = "spikes" if isinstance(last.operation, Neuron) else "sum"

    def write(self, path: Path, classes: list[str] | None = None) -> None:
        """Write the graph, with {"readout", "classes"} as JSON in `metadata_props["tmkt"]`. The
        same graph gives the same bytes.
        """
        self.save(path, {"readout": self._kind, **({"classes": classes} if classes else {})})

    def _node(self, node: Node, x: str) -> str:
        """Add one operation on float32 [T * B, *source shape] to [T * B, *node.shape]."""
        operation, add = node.operation, self.main.add
        if isinstance(operation, Neuron):
            return self._neurons(
                node.name, operation, add("Reshape", x, self.over_steps(node.shape)), node.shape
            )
        if isinstance(operation, Conv):
            settings: dict[str, Any] = {
                "strides": operation.stride,
                "dilations": operation.dilation,
                "group": operation.groups,
            }
            given = [
                self._weight(f"{node.name}.weight", operation.weight),
                self._weight(f"{node.name}.bias", operation.bias),
            ]
            return add("Conv", x, *given, pads=[*operation.padding, *operation.padding], **settings)
        if isinstance(operation, Dense):
            x = add("MatMul", x, self._weight(f"{node.name}.weight", operation.weight.T))
            return add("Add", x, self._weight(f"{node.name}.bias", operation.bias))
        if isinstance(operation, Pool):
            x = add(
                "AveragePool", x, kernel_shape=[operation.size] * 2, strides=[operation.size] * 2
            )
            return (
                x
                if operation.average
                else add("Mul", x, self.constant(operation.size**2, np.float32))
            )
        return add("Reshape", x, self.shape(-1, *node.shape))

    def _readout(self, values: str, classes: int) -> None:
        """Add the sum of [T * B, ...] over the steps, on top of the sum of the steps before."""
        by_step = self.main.add("Reshape", values, self.over_steps((classes,)))
        summed = self.main.add("ReduceSum", by_step, self.constant([0], np.int64), keepdims=0)
        self.value(self.outputs, "readout", TensorProto.FLOAT, "B", classes)
        self.state("readout.sum", TensorProto.FLOAT, classes)
        self.main.add("Add", "readout.sum", summed, out="readout")
        self.main.add("Identity", "readout", out="readout.sum_out")

    def _weight(self, name: str, value: Floats) -> str:
        return self.constant(value, np.float32, name)

    def _parameter(self, name: str, value: Floats) -> str:
        """Add a neuron's parameter, as one number where all neurons share it."""
        return self._weight(
            name, value.reshape(-1)[0] if np.all(value == value.reshape(-1)[0]) else value
        )

    def _neurons(self, name: str, neuron: Neuron, x: str, shape: tuple[int, ...]) -> str:
        """Add Euler steps of neurons in one Scan, with FloatNetwork's order of additions: float32
        [T, B, *shape] to [T * B, *shape].
        """
        driven = self.main.add("Mul", self._parameter(f"{name}.r", neuron.r), x)
        body = Nodes(f"{name}/")
        v, driven_now = f"{name}/v", f"{name}/i"
        if neuron.decay is not None:
            pull = body.add("Sub", self._parameter(f"{name}.leak", neuron.leak), v)
            driven_now = body.add(
                "Mul",
                self._parameter(f"{name}.decay", neuron.decay),
                body.add("Add", pull, driven_now),
            )
        v = body.add("Add", v, driven_now)
        fired = body.add(
            "Greater" if neuron.strict else "GreaterOrEqual",
            v,
            self._parameter(f"{name}.threshold", neuron.threshold),
        )
        body.add(
            "Where", fired, self._parameter(f"{name}.reset", neuron.reset), v, out=f"{name}/v_next"
        )
        body.add("Cast", fired, to=TensorProto.FLOAT, out=f"{name}/s")
        inputs: list[Any] = []
        outputs: list[Any] = []
        for values, names in ((inputs, ("v", "i")), (outputs, ("v_next", "s"))):
            for value in names:
                self.value(values, f"{name}/{value}", TensorProto.FLOAT, "B", *shape)
        step = helper.make_graph(body.nodes, f"{name} step", inputs, outputs)
        self.state(f"{name}.v", TensorProto.FLOAT, *shape)
        results = [f"{name}.v_out", f"{name}/spikes"]
        self.main.nodes.append(
            helper.make_node(
                "Scan",
                [f"{name}.v", driven],
                results,
                name=f"{name} steps",
                num_scan_inputs=1,
                body=step,
            )
        )
        self.value(self.outputs, f"{name}.spikes", TensorProto.UINT8, "T", "B", *shape)
        self.main.add("Cast", f"{name}/spikes", to=TensorProto.UINT8, out=f"{name}.spikes")
        return self.main.add("Reshape", f"{name}/spikes", self.shape(-1, *shape))
