"""Normalisation of a graph as its writer left it to the form that is lowered, and that snnTorch and
Norse load.

Scales and the areas of average pools go into weights. Rest and reset potentials become 0. Gains
and thresholds that differ within a layer go into its weights. Neurons without a synapse get one.
Nothing changes what the network computes, other than by float rounding.
"""

from dataclasses import replace

import numpy as np

from tmkt.nir.errors import refuse
from tmkt.nir.graph import Conv, Dense, Floats, Neuron, Node, OrderedGraph, Pool, Scale
from tmkt.nir.rewrite import Rewrite, factor_by_channel

# neurons of a flat layer that is given a synapse of its own: its weights are this number squared
MAX_DIAGONAL = 4096


def normalise_nodes(graph: OrderedGraph) -> tuple[OrderedGraph, dict[str, list[str]]]:
    """Normalise the nodes of a graph; returns the new graph, and the changes by node.

    InputError, naming the node, for what cannot be brought into this form.
    """
    rewrite = Rewrite(graph)
    for old in graph.nodes:
        node = rewrite.with_new_sources(old)
        operation = node.operation
        if isinstance(operation, Scale):
            _fold_scale(rewrite, node, operation)
        elif isinstance(operation, Neuron):
            _add_neurons(rewrite, node, operation)
        else:
            rewrite.done[node.name] = _take_factor(rewrite, node, rewrite.common_factor(node))
    return replace(graph, nodes=tuple(rewrite.done.values())), rewrite.notes


def _take_factor(rewrite: Rewrite, node: Node, factor: Floats | None) -> Node:
    """Put its sources' factor into a node's weights, or pass it on to its readers."""
    operation = node.operation
    if isinstance(operation, Pool):
        factor = _through_pool(rewrite, node, operation, factor)
        node = replace(node, operation=Pool(operation.size, False))
    elif isinstance(operation, Dense) and factor is not None:
        weight = operation.weight * factor.reshape(-1)
        return replace(node, operation=replace(operation, weight=weight))
    elif isinstance(operation, Conv) and factor is not None:
        groups, inner = operation.groups, operation.weight.shape[1]
        by_group = factor_by_channel(node.name, factor).reshape(groups, inner)
        spread = np.repeat(by_group, len(operation.weight) // groups, axis=0)  # [C_out, inner]
        weight = operation.weight * spread[:, :, None, None]
        return replace(node, operation=replace(operation, weight=weight))
    if factor is not None:
        rewrite.factor[node.name] = factor.reshape(node.shape)
    return node


def _through_pool(rewrite: Rewrite, node: Node, pool: Pool, factor: Floats | None) -> Floats | None:
    """Return the factor behind a pool, with the area of an average in it."""
    size = pool.size
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
    if not pool.average:
        return factor
    if node.name == rewrite.last:
        raise refuse(
            node.name,
            "a pool is the last node",
            "an Affine or neurons",
            "end the network with one",
        )
    rewrite.note(node.name, f"a sum, 1 / {size**2} goes into the next weights")
    return (np.ones(node.shape, np.float32) if factor is None else factor) / np.float32(size**2)


def _fold_scale(rewrite: Rewrite, node: Node, scale: Scale) -> None:
    """Remove a Scale: it goes into the synapses before it, or else into its readers' weights."""
    synapses = rewrite.own_synapses(node)
    if synapses:
        rewrite.multiply(synapses, scale.factor)
        rewrite.note(node.name, "goes into the weights before it")
    else:
        rewrite.note(node.name, "goes into the next weights")
        before = rewrite.common_factor(node)
        for source in node.sources:
            if rewrite.readers[source] != [node.name]:
                raise refuse(
                    node.name,
                    f"scales {source!r}, which other nodes read, too",
                    "a branch of its own",
                    "fold the Scale into weights",
                )
            rewrite.factor[source] = scale.factor if before is None else before * scale.factor
    if node.name == rewrite.last:
        raise refuse(
            node.name,
            "a Scale is the last node",
            "an Affine or neurons",
            "fold it into the weights before it",
        )
    rewrite.remove(node)


def _add_neurons(rewrite: Rewrite, node: Node, neuron: Neuron) -> None:
    if not all(rewrite.comes_from_synapse(source) for source in node.sources):
        node = _give_synapse(rewrite, node)
    neuron = _at_rest(rewrite, node, neuron)
    synapses = rewrite.own_synapses(node)
    one = np.ones(node.shape, np.float32)
    drive = neuron.r if neuron.gain is None else neuron.r * neuron.gain
    differs = any(np.any(values != values.flat[0]) for values in (drive, neuron.threshold))
    leaks_without_current = neuron.decay is not None and neuron.gain is None
    if synapses and differs:
        rewrite.multiply(synapses, drive / neuron.threshold)
        gain = None if neuron.gain is None else one
        neuron = replace(neuron, r=one, gain=gain, threshold=one)
        rewrite.note(
            node.name, "gains and thresholds of its neurons go into the weights, its threshold is 1"
        )
    elif synapses and leaks_without_current and np.any(neuron.r != 1):
        rewrite.multiply(synapses, neuron.r)
        neuron = replace(neuron, r=one)
        rewrite.note(node.name, "r goes into the weights")
    rewrite.done[node.name] = replace(node, operation=neuron)


def _give_synapse(rewrite: Rewrite, node: Node) -> Node:
    """Put a synapse of weights 1 before neurons that read spikes, pools or the input directly."""
    if any(rewrite.comes_from_synapse(source) for source in node.sources):
        raise refuse(
            node.name,
            "sums synapses and other neurons",
            "a synapse on each branch",
            "add a synapse of weights 1",
        )
    shape, factor = node.shape, rewrite.common_factor(node)
    operation: Conv | Dense
    if len(shape) == 3:
        channels = (
            np.ones(shape[0], np.float32)
            if factor is None
            else factor_by_channel(node.name, factor)
        )
        weight, bias = channels.reshape(-1, 1, 1, 1), np.zeros(shape[0], np.float32)
        operation = Conv(
            weight, bias, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=shape[0]
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
    rewrite.note(node.name, "has no synapse: one of weights 1 is put before it")
    return rewrite.insert(f"{node.name}_synapse", operation, node)


def _at_rest(rewrite: Rewrite, node: Node, neuron: Neuron) -> Neuron:
    """Shift the membrane so that it starts, rests and resets at 0."""
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
        raise refuse(
            node.name,
            f"v_reset {neuron.reset.flat[0]:g} beside v_leak {rest.flat[0]:g}",
            "the same potential, from which the membrane starts, too",
            "train with v_reset = v_leak",
        )
    threshold = neuron.threshold - rest
    if not (threshold > 0).all():
        raise refuse(
            node.name, "a threshold at or below the reset", "one above it", "correct the graph"
        )
    rewrite.note(node.name, f"membrane shifted by {-rest.flat[0]:g}: starts, rests and resets at 0")
    zero = np.zeros(node.shape, np.float32)
    return replace(neuron, leak=zero, reset=zero, threshold=threshold)
