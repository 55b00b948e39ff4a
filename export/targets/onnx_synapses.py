"""Synapses in an ONNX graph: weights, pools, convolutions, products, delays and recurrence.

All numbers are float32, in the units of a neuron's state (1/64 of a weight).
"""

from functools import reduce

import numpy as np
from onnx import TensorProto

from tmkt.export.targets.onnx_parts import Graph, Nodes
from tmkt.export.targets.shared_weights import first_equal_synapses
from tmkt.program.arithmetic import MAX_ODD_WEIGHT, STATE_ONE
from tmkt.program.model import INPUT, Layer, Program, pooled


class SynapseGraph(Graph):
    """The part of a program's graph that brings spikes to the neurons."""

    def __init__(self, program: Program) -> None:
        super().__init__(program.input_shape)
        self.program = program

    def sums(self, layer: Layer, sources: dict[str, str], bias: str) -> str:
        """Add the sums over the layer's synapses of all steps, float32 [T, B, *shape], and a bias
        (its name, or ""); left out are recurrent synapses, and those from layers that never fire.
        """
        add = self.main.add
        shape = self.over_steps(layer.shape)
        total = ""
        first = first_equal_synapses(self.program, layer)
        for i, synapse in enumerate(layer.synapses):
            if synapse.source == layer.name or first[i] < i:
                continue
            summed = [
                sources[other.source]
                for other, same in zip(layer.synapses, first, strict=True)
                if same == i and other.source in sources
            ]
            if not summed:
                continue
            if layer.steps_back(synapse):
                a = self._late(layer, i)
                total = add("Add", total, a) if total else a
                continue
            # Spikes are added first, and weighted once.
            x = reduce(lambda one, other: add("Add", one, other), summed)
            if synapse.kind == "conv":
                a = self._conv(layer, i, x, bias)
                bias = ""
            else:
                a = self._dense(layer, i, x)
            total = add("Add", total, a) if total else a
        if total:
            total = add("Reshape", total, shape)
        else:
            total = add("Expand", self.constant(0, np.float32), shape)
        return add("Add", total, self.by_channel(bias, layer.shape)) if bias else total

    def recurrent_sum(self, body: Nodes, layer: Layer, i: int) -> str:
        """Add what a recurrent synapse delivers in one step, float32 [B, *layer.shape], from the
        spikes that it has kept.
        """
        synapse = layer.synapses[i]
        steps, (outputs, inputs) = layer.steps_back(synapse), synapse.weight.shape
        by_step = self.main.add("Transpose", self._kernel(layer, i), perm=[2, 1, 0])
        kernel = self.main.add("Reshape", by_step, self.shape(steps * inputs, outputs))
        x = body.add("Reshape", f"{layer.name}/past_{i}", self.shape(-1, *layer.shape))
        x = body.add("Reshape", self._pooled(body, x, synapse.pool), self.shape(-1, steps * inputs))
        return body.add("Reshape", body.add("MatMul", x, kernel), self.shape(-1, *layer.shape))

    def keep_spikes(self, body: Nodes, layer: Layer, i: int) -> None:
        """Add the spikes of this step to those that a recurrent synapse keeps, in place of the
        oldest.
        """
        past, one = f"{layer.name}/past_{i}", self.constant([1], np.int64)
        younger = body.add("Slice", past, one, self.constant([2**31], np.int64), one)
        body.add(
            "Concat",
            younger,
            body.add("Unsqueeze", f"{layer.name}/s", one),
            axis=1,
            out=f"{past}_next",
        )

    def _weight(self, layer: Layer, i: int, transposed: bool = False) -> str:
        """Add the weights of the layer's i-th synapse in 1/64, float32; the file holds int8
        mantissas.
        """
        synapse = layer.synapses[i]
        # A program's weights above 127 are even: they are stored halved.
        shift = int(np.abs(synapse.weight).max(initial=0) > MAX_ODD_WEIGHT)
        mantissa = (synapse.weight >> shift).astype(np.int8)
        name = self.constant(
            mantissa.T if transposed else mantissa, np.int8, f"{layer.name}.weight_{i}"
        )
        area = synapse.pool**2 if _exact_mean(synapse.pool) else 1
        unit = self.constant((STATE_ONE << shift) * area, np.float32)
        return self.main.add("Mul", self.main.add("Cast", name, to=TensorProto.FLOAT), unit)

    def _pooled(self, nodes: Nodes, x: str, pool: int) -> str:
        """Add means over windows of float32 [n, C, H, W]; `_weight` multiplies with the area. Where
        the mean would not be exact, add sums.
        """
        if pool == 1:
            return x
        x = nodes.add("AveragePool", x, kernel_shape=[pool, pool], strides=[pool, pool])
        if _exact_mean(pool):
            return x
        return nodes.add("Round", nodes.add("Mul", x, self.constant(pool**2, np.float32)))

    def _kernel(self, layer: Layer, i: int) -> str:
        """Add a late synapse as a kernel over time, float32 [N_out, N_in, 1 + longest delay]: each
        weight where its delay puts it, longest first.

        It is made when the file is loaded; the file holds weights and delays alone.
        """
        add, delays = self.main.add, layer.synapses[i].delays
        last = self.constant([-1], np.int64)
        weight = add("Unsqueeze", self._weight(layer, i), last)
        if delays is None:
            return weight
        name = self.constant(delays, np.uint8, f"{layer.name}.delays_{i}")
        which = add("Unsqueeze", add("Cast", name, to=TensorProto.INT32), last)
        there = add("Equal", which, self.constant(range(int(delays.max()), -1, -1), np.int32))
        return add("Mul", weight, add("Cast", there, to=TensorProto.FLOAT))

    def _late(self, layer: Layer, i: int) -> str:
        """Add what a delayed synapse delivers, [T * B, *layer.shape]: a convolution over the time
        of its source, from before these steps on.
        """
        add, synapse = self.main.add, layer.synapses[i]
        source, steps = self.program.shape_of(synapse.source), layer.steps_back(synapse)
        swap = [1, 0, *range(2, 2 + len(source))]
        past = f"{layer.name}.past_{i}"
        self.state(past, TensorProto.UINT8, steps, *source)
        sent = add(
            "Concat",
            add("Transpose", past, perm=swap),
            "x" if synapse.source == INPUT else f"{synapse.source}.spikes",
            axis=0,
        )
        end, axis = self.constant([2**31], np.int64), self.constant([0], np.int64)
        add(
            "Transpose",
            add("Slice", sent, self.constant([-steps], np.int64), end, axis),
            perm=swap,
            out=f"{past}_out",
        )
        x = self._pooled(self.main, self.as_float(sent, source), synapse.pool)
        inputs = self.constant([synapse.weight.shape[1]], np.int64)
        x = add("Reshape", x, add("Concat", add("Shape", sent, start=0, end=2), inputs, axis=0))
        a = add("Conv", add("Transpose", x, perm=[1, 2, 0]), self._kernel(layer, i))
        return add("Reshape", add("Transpose", a, perm=[2, 0, 1]), self.shape(-1, *layer.shape))

    def _conv(self, layer: Layer, i: int, x: str, bias: str) -> str:
        """Add a convolution of all steps at once, float32 [T * B, *source shape] to [T * B,
        *layer.shape].
        """
        synapse = layer.synapses[i]
        size = pooled(self.program.shape_of(synapse.source), synapse.pool)[1:]
        sides = zip(
            layer.shape[1:],
            size,
            synapse.weight.shape[2:],
            synapse.stride,
            synapse.dilation,
            synapse.padding,
            strict=True,
        )
        # What the layer crops is not computed.
        ends = [(out - 1) * s + d * (k - 1) + 1 - n - p for out, n, k, s, d, p in sides]
        given = [
            self._pooled(self.main, x, synapse.pool),
            self._weight(layer, i),
            *([bias] if bias else []),
        ]
        pads = [*synapse.padding, *(max(0, end) for end in ends)]
        a = self.main.add(
            "Conv",
            *given,
            pads=pads,
            strides=synapse.stride,
            dilations=synapse.dilation,
            group=synapse.groups,
        )
        if all(end > -s for end, s in zip(ends, synapse.stride, strict=True)):
            return a
        start, end = self.shape(0, 0), self.shape(*layer.shape[1:])
        return self.main.add("Slice", a, start, end, self.shape(2, 3))

    def _dense(self, layer: Layer, i: int, x: str) -> str:
        """Add a matrix product of all steps at once, float32 [T * B, *source shape] to [T * B,
        *layer.shape].
        """
        add, synapse = self.main.add, layer.synapses[i]
        flat = add(
            "Reshape",
            self._pooled(self.main, x, synapse.pool),
            self.shape(-1, synapse.weight.shape[1]),
        )
        return add(
            "Reshape",
            add("MatMul", flat, self._weight(layer, i, transposed=True)),
            self.shape(-1, *layer.shape),
        )


def _exact_mean(pool: int) -> bool:
    """Tell whether float32 holds the mean of a window: if its area is a power of two."""
    return pool & (pool - 1) == 0
