"""Bound the work and the memory of an ONNX graph by those of its program, before either is spent.

A file of a few hundred bytes can ask for all memory or a year of time: a Concat of a tensor with
itself, forty times over, or a Scan over a large constant. So the shapes of all values are computed
first, for the steps and samples of a run.
"""

from math import prod
from pathlib import Path
from typing import NamedTuple

from tmkt.deploy.engines import onnx_shapes
from tmkt.deploy.engines.onnx_read import MAX_AXES, Graph, Node, Tensor
from tmkt.errors import InputError
from tmkt.program.model import Program, conv_shape

# Most work and values of a graph, in those of its program. Ours take at most 1.4 times the work
# and 1.1 times the values, the smallest networks and the largest (tests/deploy/test_onnx_work.py);
# the float network's maps may be up to twice as wide and high.
MOST_OPERATIONS, MOST_ELEMENTS = 8, 4
SMALL = 2**24  # elements that any graph may have
# Operations that starting a node takes, in multiplications: a microsecond of a core.
NODE_OPERATIONS = 1000


class Work(NamedTuple):
    """Multiplications or copies, and the elements of all results (of one step within a Scan)."""

    operations: int
    elements: int


def check_work(graph: Graph, program: Program, steps: int, samples: int, path: Path) -> None:
    """Check that a graph, read from `path`, is no more work than its program allows.

    Raises InputError if it is, or if its shapes are not known before it runs.
    """
    own = program_work(program, steps, samples)
    allowed = Work(MOST_OPERATIONS * own.operations, MOST_ELEMENTS * own.elements + SMALL)
    try:
        graph_work(graph, steps, samples, allowed)
    except ValueError as error:
        raise InputError(
            f"{path}: found {error}, expected only what tmkt writes; export the network again"
        ) from None


def program_work(program: Program, steps: int, samples: int) -> Work:
    """Give an upper estimate of the work of a program's graph: per weight and site one
    multiplication, per neuron and input some copies, and kernels over time for delays.
    """
    runs = steps * samples
    operations, elements = 0, runs * prod(program.input_shape)
    for layer in program.layers:
        copied, weights = runs * layer.neurons, 0
        for synapse in layer.synapses:
            source = (
                layer.shape if synapse.source == layer.name else program.shape_of(synapse.source)
            )
            back = layer.steps_back(synapse)
            full = conv_shape(synapse, source) if synapse.kind == "conv" else layer.shape
            sites = prod(full[1:]) if synapse.kind == "conv" else 1
            kernel = synapse.weight.size * (1 + back)
            operations += runs * kernel * sites
            copied += runs * (prod(full) + prod(source)) + samples * back * prod(source)
            weights += kernel
        operations += 16 * (copied + weights + steps * NODE_OPERATIONS) + 64 * NODE_OPERATIONS
        elements += 3 * (copied + weights)
    return Work(operations + elements, elements)


def graph_work(graph: Graph, steps: int, samples: int, allowed: Work) -> Work:
    """Give the work of a graph. Raises ValueError once it exceeds what is allowed, and for what
    our own graphs do not hold.
    """
    sizes = {"T": steps, "B": samples}
    values = dict(graph.constants)
    for name, declared in graph.inputs.items():
        # 0, which is refused, for a name that is none of ours
        sides = [sizes.get(side, 0) if isinstance(side, str) else side for side in declared]
        if name in values or min(sides, default=1) < 1 or len(sides) > MAX_AXES:
            raise ValueError(f"an input {name[:40]!a} of shape {str(declared)[:60]}")
        values[name] = Tensor(tuple(sides))
    return _Walk(allowed).graph(graph, values, 1)


class _Walk:
    """The work of the nodes so far."""

    def __init__(self, allowed: Work) -> None:
        self._allowed = allowed
        self._operations = self._elements = 0

    def graph(self, graph: Graph, values: dict[str, Tensor], times: int) -> Work:
        """Add the nodes of a graph, which runs so many times, and put their results to `values`."""
        for node in graph.nodes:
            missing = [name for name in node.inputs if name not in values]
            if missing:
                raise ValueError(f"no value called {missing[0][:40]!a} before it is used")
            inputs = [values[name] for name in node.inputs]
            if node.operator == "Scan":
                results = self._scan(node, inputs, values)
            else:
                result, operations = onnx_shapes.apply(node, inputs)
                self._add(times * (operations + NODE_OPERATIONS), prod(result.shape))
                results = [result]
            if len(results) != len(node.outputs):
                raise ValueError(f"{len(node.outputs)} outputs of the operator {node.operator!a}")
            for name, result in zip(node.outputs, results, strict=True):
                if name in values:
                    raise ValueError(f"two values called {name[:40]!a}")
                values[name] = result
        return Work(self._operations, self._elements)

    def _scan(self, node: Node, inputs: list[Tensor], values: dict[str, Tensor]) -> list[Tensor]:
        """Add a Scan over the first axis of its last input; give the states and what it stacks."""
        body = node.body
        usual = node.numbers == {"num_scan_inputs": [1]} and body is not None
        if not usual or body is None or len(inputs) != len(body.inputs) or not inputs[-1].shape:
            raise ValueError("a Scan with other inputs or attributes than ours")
        *states, (scanned, _) = inputs
        times, *one = scanned
        entering = [*(Tensor(state.shape) for state in states), Tensor(tuple(one))]
        inner = {**values, **body.constants}
        twice = [name for name in (*body.inputs, *body.constants) if name in values]
        if twice or body.inputs.keys() & body.constants.keys():
            raise ValueError("a value of a Scan's body with a name of the graph around it")
        inner |= dict(zip(body.inputs, entering, strict=True))
        self.graph(body, inner, times)
        if missing := body.outputs.keys() - inner.keys():
            raise ValueError(f"no value called {min(missing)[:40]!a}, which a Scan gives")
        leaving = [inner[name].shape for name in body.outputs]
        if leaving[: len(states)] != [state.shape for state in states]:
            raise ValueError("a Scan whose states change their shapes")
        stacked = [Tensor((times, *shape)) for shape in leaving[len(states) :]]
        for tensor in stacked:
            self._add(prod(tensor.shape), prod(tensor.shape))
        return [*entering[: len(states)], *stacked]

    def _add(self, operations: int, elements: int) -> None:
        self._operations += operations
        self._elements += elements
        most = self._allowed
        if self._operations > most.operations:
            raise ValueError(f"more work than {MOST_OPERATIONS} times its program's")
        if self._elements > most.elements:
            raise ValueError(f"more values than {MOST_ELEMENTS} times its program's")
