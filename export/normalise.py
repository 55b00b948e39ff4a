"""From a NIR graph as its writer left it to one in this project's form: what the quantiser lowers,
and snnTorch and Norse load as it is.

Scales and means of pools go into weights, rest and reset potentials to 0, what differs between a
layer's neurons into weights, neurons without a synapse get one; time constants are written for a
step of 1e-4 s. Nothing changes what the network computes, other than by float rounding.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from tmkt.export.targets.nir import ordered_to_nir
from tmkt.nir.graph import (
    DEFAULT_DT,
    Conv,
    Delay,
    Dense,
    Flatten,
    Floats,
    Neuron,
    Node,
    OrderedGraph,
    Pool,
    Scale,
    Shape,
)
from tmkt.nir.operations import refuse

# neurons of a flat layer that is given a synapse of its own: its weights are this number squared
MAX_DIAGONAL = 4096


def normalise(
    graph: OrderedGraph, sensor: tuple[int, int] | None
) -> "tuple[Any, dict[str, list[str]]]":
    """Gives the graph as a nir.NIRGraph, and for each node, by name, what was changed.

    `sensor` (height, width) of a network whose input is flat. InputError, naming the node, for what
    cannot be brought into this form.
    """
    changes = _Changes(graph)
    shape = _input_shape(graph, sensor)
    for node in graph.nodes:
        changes.take(node)
    nodes = list(changes.done.values())
    if shape != graph.input_shape:
        flat = "input_flat"
        nodes = [
            replace(node, sources=tuple(flat if s == graph.input_name else s for s in node.sources))
            for node in nodes
        ]
        nodes.insert(0, Node(flat, Flatten(), (graph.input_name,), graph.input_shape))
    return (
        ordered_to_nir(replace(graph, input_shape=shape, nodes=tuple(nodes), dt=DEFAULT_DT)),
        changes.notes,
    )


def _input_shape(graph: OrderedGraph, sensor: tuple[int, int] | None) -> tuple[int, int, int]:
    """(2, height, width): event recordings have two polarities."""
    shape = graph.input_shape
    if len(shape) == 1:
        if sensor is None:
            way_out = "say how: --sensor WIDTHxHEIGHT, of 2 polarities, each row by row"
            raise refuse(
                graph.input_name, f"a flat input of {shape[0]}", "an image of events", way_out
            )
        if 2 * sensor[0] * sensor[1] != shape[0]:
            raise refuse(
                graph.input_name,
                f"a flat input of {shape[0]}",
                f"2 x {sensor[0]} x {sensor[1]}",
                "give the right --sensor",
            )
        return (2, *sensor)
    if len(shape) != 3 or shape[0] != 2:
        way_out = "train it on both polarities, off and on"
        raise refuse(
            graph.input_name,
            f"an input of {shape}",
            "(2, height, width), the two polarities of events",
            way_out,
        )
    if sensor is not None and sensor != shape[1:]:
        raise refuse(
            graph.input_name,
            f"an input of {shape}",
            f"(2, {sensor[0]}, {sensor[1]})",
            "leave --sensor out",
        )
    return (2, shape[1], shape[2])


class _Changes:
    """The nodes so far in the new form. `factor` of a node: what its outputs still have to be
    multiplied with, in whatever reads them.
    """

    def __init__(self, graph: OrderedGraph) -> None:
        self.done: dict[str, Node] = {}
        self.notes: dict[str, list[str]] = {}
        self.factor: dict[str, Floats] = {}
        self.shapes: dict[str, Shape] = {
            graph.input_name: graph.input_shape,
            **{node.name: node.shape for node in graph.nodes},
        }
        self.instead: dict[str, tuple[str, ...]] = {}
        self.readers = {
            name: [node.name for node in graph.nodes if name in (*node.sources, *node.past)]
            for name in self.shapes
        }
        self.last = graph.nodes[-1].name

    def take(self, node: Node) -> None:
        """Adds a node whose sources have been taken."""
        node = replace(
            node,
            sources=tuple(new for old in node.sources for new in self.instead.get(old, (old,))),
        )
        operation = node.operation
        if isinstance(operation, Scale):
            self._scale(node, operation)
        elif isinstance(operation, Neuron):
            self._neurons(node, operation)
        else:
            self.done[node.name] = self._with_factor(node, self._common(node))

    def _note(self, name: str, text: str) -> None:
        self.notes.setdefault(name, []).append(text)

    def _common(self, node: Node) -> Floats | None:
        """The factor that all sources of a node share."""
        factors = [self.factor.get(source) for source in node.sources]
        first = factors[0] if factors else None
        for other in factors[1:]:
            same = (
                other is None
                if first is None
                else other is not None and bool(np.array_equal(first, other))
            )
            if not same:
                raise refuse(
                    node.name,
                    f"sums {list(node.sources)}, which are scaled differently",
                    "one scale",
                    "put a synapse on each branch",
                )
        return first

    def _with_factor(self, node: Node, factor: Floats | None) -> Node:
        """The node with its sources' factor in its weights, or passed on."""
        operation = node.operation
        if isinstance(operation, Pool):
            size, area = operation.size, np.float32(operation.size**2 if operation.average else 1)
            if factor is not None:
                whole = factor[:, : node.shape[1] * size, : node.shape[2] * size]
                windows = whole.reshape(node.shape[0], node.shape[1], size, node.shape[2], size)
                if np.any(windows != windows[:, :, :1, :, :1]):
                    raise refuse(
                        node.name,
                        "pools inputs that are scaled differently",
                        "one scale a window",
                        "put the Scale after the pooling",
                    )
                factor = np.ascontiguousarray(windows[:, :, 0, :, 0])
            if operation.average:
                factor = (np.ones(node.shape, np.float32) if factor is None else factor) / area
                self._note(node.name, f"a sum, 1 / {operation.size**2} goes into the next weights")
                if node.name == self.last:
                    raise refuse(
                        node.name,
                        "a pool is the last node",
                        "an Affine or neurons",
                        "end the network with one",
                    )
            node = replace(node, operation=Pool(size, False))
        elif isinstance(operation, Dense) and factor is not None:
            return replace(
                node, operation=replace(operation, weight=operation.weight * factor.reshape(-1))
            )
        elif isinstance(operation, Conv) and factor is not None:
            by_channel = self._by_channel(node.name, factor)
            groups, inner = operation.groups, operation.weight.shape[1]
            outputs = len(operation.weight) // groups
            spread = np.repeat(
                by_channel.reshape(groups, inner), outputs, axis=0
            )  # [C_out, C_in / groups]
            return replace(
                node,
                operation=replace(operation, weight=operation.weight * spread[:, :, None, None]),
            )
        if factor is not None:
            self.factor[node.name] = factor.reshape(node.shape)
        return node

    def _by_channel(self, name: str, factor: Floats) -> Floats:
        if np.any(factor != factor[:, :1, :1]):
            raise refuse(
                name,
                "a Scale that differs within a channel",
                "one number a channel",
                "flatten before it, or train with a shared one",
            )
        return np.ascontiguousarray(factor[:, 0, 0])

    def _scale(self, node: Node, operation: Scale) -> None:
        synapses = self._synapses(node)
        if synapses:
            self._multiply(synapses, operation.factor)
            self._note(node.name, "goes into the weights before it")
        else:
            self._note(node.name, "goes into the next weights")
            before = self._common(node)
            for source in node.sources:
                if self.readers[source] != [node.name]:
                    raise refuse(
                        node.name,
                        f"scales {source!r}, which other nodes read, too",
                        "a branch of its own",
                        "fold the Scale into weights",
                    )
                self.factor[source] = (
                    operation.factor if before is None else before * operation.factor
                )
        if node.name == self.last:
            raise refuse(
                node.name,
                "a Scale is the last node",
                "an Affine or neurons",
                "fold it into the weights before it",
            )
        self.instead[node.name] = node.sources
        for source in node.sources:
            self.readers[source] = self.readers[node.name]

    def _synapses(self, node: Node) -> list[str]:
        """The synapses that a node alone reads, directly or late; empty if it reads anything else."""
        found = []
        for source in node.sources:
            at = source
            while (
                at in self.done
                and isinstance(self.done[at].operation, Delay)
                and len(self.done[at].sources) == 1
            ):
                at = self.done[at].sources[0]
            alone = all(len(self.readers[name]) == 1 for name in (source, at))
            if (
                at not in self.done
                or not isinstance(self.done[at].operation, Conv | Dense)
                or not alone
            ):
                return []
            found.append(at)
        return found

    def _multiply(self, synapses: list[str], factor: Floats) -> None:
        """Weights and biases of synapses times a factor for each of their outputs."""
        for name in synapses:
            node = self.done[name]
            assert isinstance(node.operation, Conv | Dense)
            gain = (
                factor.reshape(-1)
                if isinstance(node.operation, Dense)
                else self._by_channel(name, factor)
            )
            weight = node.operation.weight * gain.reshape(
                -1, *[1] * (node.operation.weight.ndim - 1)
            )
            self.done[name] = replace(
                node,
                operation=replace(node.operation, weight=weight, bias=node.operation.bias * gain),
            )

    def _neurons(self, node: Node, neuron: Neuron) -> None:
        if not all(self._reads_synapse(source) for source in node.sources):
            node = self._give_synapse(node)
        neuron = self._at_rest(node, neuron)
        synapses = self._synapses(node)
        drive = neuron.r if neuron.gain is None else neuron.r * neuron.gain
        if synapses and any(np.any(a != a.flat[0]) for a in (drive, neuron.threshold)):
            self._multiply(synapses, drive / neuron.threshold)
            one = np.ones(node.shape, np.float32)
            neuron = replace(
                neuron, r=one, gain=None if neuron.gain is None else one, threshold=one
            )
            self._note(
                node.name,
                "gains and thresholds of its neurons go into the weights, its threshold is 1",
            )
        elif (
            synapses and neuron.decay is not None and neuron.gain is None and np.any(neuron.r != 1)
        ):
            self._multiply(synapses, neuron.r)
            neuron = replace(neuron, r=np.ones(node.shape, np.float32))
            self._note(node.name, "r goes into the weights")
        self.done[node.name] = replace(node, operation=neuron)

    def _reads_synapse(self, source: str) -> bool:
        while source in self.done and isinstance(self.done[source].operation, Delay):
            source = self.done[source].sources[0]
        return source in self.done and isinstance(self.done[source].operation, Conv | Dense)

    def _give_synapse(self, node: Node) -> Node:
        """Neurons that read spikes, pools or the input directly get a synapse of weights 1 for
        each.
        """
        if any(self._reads_synapse(source) for source in node.sources):
            raise refuse(
                node.name,
                "sums synapses and other neurons",
                "a synapse on each branch",
                "add a synapse of weights 1",
            )
        shape = node.shape
        factor = self._common(node)
        name = f"{node.name}_synapse"
        while name in self.shapes:
            name += "_"
        operation: Conv | Dense
        if len(shape) == 3:
            channels = (
                np.ones(shape[0], np.float32)
                if factor is None
                else self._by_channel(node.name, factor)
            )
            weight = channels.reshape(-1, 1, 1, 1)
            operation = Conv(
                weight, np.zeros(shape[0], np.float32), (1, 1), (0, 0), (1, 1), shape[0]
            )
        else:
            if shape[0] > MAX_DIAGONAL:
                raise refuse(
                    node.name,
                    f"{shape[0]} flat neurons without a synapse",
                    f"at most {MAX_DIAGONAL}",
                    "put a Linear before them",
                )
            diagonal = np.ones(shape, np.float32) if factor is None else factor.reshape(-1)
            operation = Dense(np.diag(diagonal).astype(np.float32), np.zeros(shape, np.float32))
        self.done[name] = Node(name, operation, node.sources, shape)
        self.shapes[name], self.readers[name] = shape, [node.name]
        self._note(node.name, "has no synapse: one of weights 1 is put before it")
        return replace(node, sources=(name,))

    def _at_rest(self, node: Node, neuron: Neuron) -> Neuron:
        """Shifts the membrane so that it starts, rests and resets at 0."""
        if not neuron.leak.any() and (not neuron.reset.any() or not neuron.fires):
            return neuron
        rest = neuron.leak if neuron.decay is not None else neuron.reset
        if not neuron.fires:
            raise refuse(
                node.name,
                "an integrator that leaks to another potential than 0",
                "v_leak 0",
                "put it into the bias",
            )
        if np.any(neuron.reset != rest):
            found = f"v_reset {neuron.reset.flat[0]:g} beside v_leak {rest.flat[0]:g}"
            raise refuse(
                node.name,
                found,
                "the same potential, from which the membrane starts, too",
                "train with v_reset = v_leak",
            )
        threshold = neuron.threshold - rest
        if not (threshold > 0).all():
            raise refuse(
                node.name, "a threshold at or below the reset", "one above it", "correct the graph"
            )
        self._note(
            node.name, f"membrane shifted by {-rest.flat[0]:g}: starts, rests and resets at 0"
        )
        zero = np.zeros(node.shape, np.float32)
        return replace(neuron, leak=zero, reset=zero, threshold=threshold)
