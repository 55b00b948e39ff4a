"""Networks in this project's form as NIR graphs."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tmkt.nir.file import import_nir
from tmkt.nir.graph import (
    Conv,
    Delay,
    Dense,
    Flatten,
    Neuron,
    Node,
    OrderedGraph,
    Pool,
    Scale,
    Shape,
)

if TYPE_CHECKING:
    import nir


def metadata(dt: float, strict: bool) -> dict[str, Any]:
    """Make the metadata of a graph in this project's form, for which NIR has no fields.

    They are the time step in seconds, the rule for a spike (`strict`: v > threshold, else >=),
    reset and discretisation.
    """
    rule = ">" if strict else ">="
    return {"dt": dt, "reset": "hard", "threshold_rule": rule, "discretisation": "euler"}


def flatten_node(shape: Shape) -> "nir.Flatten":
    """Make a Flatten of [C, H, W] to [C * H * W].

    Its axes count from the end, so that it is right with a batch axis before them (snnTorch, Norse)
    and without (NIR).
    """
    return import_nir().Flatten({"input": np.array(shape)}, -len(shape), -1)


def ordered_to_nir(graph: OrderedGraph) -> "nir.NIRGraph":
    """Convert an ordered graph to NIR, with time constants for steps of `graph.dt`.

    Its input is called "input", its output "output". Arrays are float32. Neurons must rest and
    reset at potentials that NIR can express, and all must fire by one rule.
    """
    nir = import_nir()
    names = _names(graph)
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array(graph.input_shape)})}
    shapes = {
        graph.input_name: graph.input_shape,
        **{node.name: node.shape for node in graph.nodes},
    }
    edges: list[tuple[str, str]] = []
    rules = set()
    for node in graph.nodes:
        source = shapes[node.sources[0] if node.sources else node.past[0]]
        nodes[names[node.name]] = _nir_node(node, source, graph.dt)
        edges += [(names[source], names[node.name]) for source in (*node.sources, *node.past)]
        if isinstance(node.operation, Neuron) and node.operation.fires:
            rules.add(node.operation.strict)
    last = graph.nodes[-1]
    nodes["output"] = nir.Output({"output": np.array(last.shape)})
    edges.append((names[last.name], "output"))
    assert len(rules) <= 1
    return nir.NIRGraph(nodes, edges, metadata(graph.dt, True in rules), type_check=False)


def _names(graph: OrderedGraph) -> dict[str, str]:
    """Choose new names: the input alone is "input", and no name has a slash, which has a meaning in
    HDF5 and in programs.
    """
    names = {graph.input_name: "input"}
    taken = {"input", "output"}
    for node in graph.nodes:
        name = node.name.replace("/", ".").strip("_") or "node"
        name = f"n{name}" if name[0].isdigit() else name
        while name in taken:
            name += "_"
        taken.add(name)
        names[node.name] = name
    return names


def _nir_node(node: Node, source: Shape, dt: float) -> Any:
    nir, operation = import_nir(), node.operation
    if isinstance(operation, Conv):
        o = operation
        return nir.Conv2d(
            source[1:],
            o.weight,
            stride=o.stride,
            padding=o.padding,
            dilation=o.dilation,
            groups=o.groups,
            bias=o.bias,
        )
    if isinstance(operation, Dense):
        return nir.Affine(operation.weight, operation.bias)
    if isinstance(operation, Pool):
        pair = np.array([operation.size, operation.size])
        return (nir.AvgPool2d if operation.average else nir.SumPool2d)(pair, pair, np.array([0, 0]))
    if isinstance(operation, Flatten):
        return flatten_node(source)
    if isinstance(operation, Scale):
        return nir.Scale(operation.factor)
    if isinstance(operation, Delay):
        return nir.Delay(operation.steps * dt)
    return _nir_neuron(operation, dt)


def _nir_neuron(neuron: Neuron, dt: float) -> Any:
    nir, step = import_nir(), np.float32(dt)

    def tau(decay: NDArray[np.float32]) -> NDArray[np.float32]:
        return step / decay

    if neuron.decay is None:
        r = neuron.r / step
        return nir.IF(r, neuron.threshold, neuron.reset) if neuron.fires else nir.I(r)
    if neuron.current_decay is None or neuron.gain is None:
        if neuron.fires:
            return nir.LIF(tau(neuron.decay), neuron.r, neuron.leak, neuron.threshold, neuron.reset)
        return nir.LI(tau(neuron.decay), neuron.r, neuron.leak)
    # snnTorch takes r = tau_mem / dt only, so all gain goes to the current's input.
    w_in = neuron.gain / neuron.current_decay * neuron.r * neuron.decay
    given = {
        "tau_syn": tau(neuron.current_decay),
        "tau_mem": tau(neuron.decay),
        "r": 1 / neuron.decay,
        "v_leak": neuron.leak,
        "w_in": w_in,
    }
    if neuron.fires:
        return nir.CubaLIF(**given, v_threshold=neuron.threshold, v_reset=neuron.reset)
    return nir.CubaLI(**given)
