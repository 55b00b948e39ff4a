"""Writes a program as an ONNX graph that carries its states: integer-exact, streaming, without
torch.
"""

from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from tmkt.errors import InputError
from tmkt.export.targets.onnx_parts import Graph, Nodes
from tmkt.export.targets.shared_weights import first_equal_synapses
from tmkt.program.arithmetic import DECAY_ONE
from tmkt.program.model import INPUT, Layer, Program, largest_sum, pooled

RAIL = 2**23 - 1  # a membrane saturates here
WRAP = 2**23  # a current above this, or at or below its negative, wraps by 2^24


def write_onnx(program: Program, path: Path, classes: list[str] | None = None) -> None:
    """Writes `network.onnx` (opset 21). The same program gives the same bytes.

    Inputs: `x` uint8 [T, B, C, H, W]; the states, zeros to start a sample: `<layer>.v` int32 [B,
    *shape] of every layer, `<layer>.u` where current_decay != 4096, and `<layer>.past_<i>` uint8
    [B, L, *source shape] where the layer's i-th synapse delivers late or is recurrent: what its
    source sent in the L = `Layer.steps_back` steps before, oldest first. Outputs: `readout` int32
    [B, K], the last membrane after the T steps or the spikes of these T steps; `<layer>.spikes`
    uint8 [T, B, *shape] of every layer that fires; every state as `<state>_out`, to be given to the
    next call: two calls in a row equal one. T and B are symbolic. `metadata_props["tmkt"]` is JSON
    {"readout", "max_count", "classes"}.

    All is computed in float32, which is two to three times as fast as int32 in ONNX Runtime
    (measured: it divides, selects and casts integers slowly), and exact: float32 holds every
    integer below 2^24 times any power of two. Sums over synapses are multiples of 64 below 2^23 *
    64 in whatever order; states are below 2^23; what else could grow larger is clipped to 2^23
    anyway, or is int32 (the current of layers that remember it). int8 weights in the file become
    float32 once, when the file is loaded. InputError for a program that int32 cannot hold.
    """
    _Builder(program).save(
        path,
        {
            "readout": program.readout,
            "max_count": program.max_count,
            **({"classes": classes} if classes else {}),
        },
    )


class _Builder(Graph):
    def __init__(self, program: Program) -> None:
        super().__init__(program.input_shape)
        self.program = program
        self.value(self.outputs, "readout", TensorProto.INT32, "B", program.classes)
        sources = {INPUT: self.as_float("x", program.input_shape)}
        for layer in program.layers:
            spikes = self._neurons(layer, sources)
            if layer.fires:
                sources[layer.name] = spikes
        self._readout(program.layers[-1])

    def _sums(self, layer: Layer, sources: dict[str, str], bias: str) -> str:
        """a << 6 of all steps plus a bias (its name, or none), what recurrent synapses deliver left
        out: float32 [T, B, *shape].
        """
        add = self.main.add
        shape = self.over_steps(layer.shape)
        total = ""
        first = first_equal_synapses(self.program, layer)
        for i, synapse in enumerate(layer.synapses):
            if synapse.source == layer.name or first[i] < i:
                continue
            summed = [
                sources.get(other.source, "")
                for other, same in zip(layer.synapses, first, strict=True)
                if same == i
            ]
            if "" in summed:
                raise InputError(
                    f"layer {layer.name!r}: reads {synapse.source!r}, expected a layer that fires;"
                    " remove that synapse"
                )
            if layer.steps_back(synapse):
                a = self._late(layer, i)
                total = add("Add", total, a) if total else a
                continue
            x = reduce(
                lambda one, other: add("Add", one, other), summed
            )  # spikes are added first, and weighted once
            if synapse.kind == "conv":
                a = self._conv(layer, i, x, bias)
                bias = ""
            else:
                a = self._dense(layer, i, x)
            total = add("Add", total, a) if total else a
        total = (
            add("Reshape", total, shape)
            if total
            else add("Expand", self.constant(0, np.float32), shape)
        )
        return add("Add", total, self.by_channel(bias, layer.shape)) if bias else total

    def _weight(self, layer: Layer, i: int, transposed: bool = False) -> str:
        """The weights of the layer's i-th synapse in 1/64, float32; int8 mantissas in the file."""
        synapse = layer.synapses[i]
        shift = int(
            np.abs(synapse.weight).max(initial=0) > 127
        )  # a program's weights above 127 are even: stored halved
        mantissa = (synapse.weight >> shift).astype(np.int8)
        name = self.constant(
            mantissa.T if transposed else mantissa, np.int8, f"{layer.name}.weight_{i}"
        )
        unit = self.constant(
            (64 << shift) * (synapse.pool**2 if _exact_mean(synapse.pool) else 1), np.float32
        )
        return self.main.add("Mul", self.main.add("Cast", name, to=TensorProto.FLOAT), unit)

    def _pooled(self, nodes: Nodes, x: str, pool: int) -> str:
        """Means over windows of float32 [n, C, H, W], to which `_weight` adds the area; sums where
        the mean would not be exact.
        """
        if pool == 1:
            return x
        x = nodes.add("AveragePool", x, kernel_shape=[pool, pool], strides=[pool, pool])
        return (
            x
            if _exact_mean(pool)
            else nodes.add("Round", nodes.add("Mul", x, self.constant(pool**2, np.float32)))
        )

    def _kernel(self, layer: Layer, i: int) -> str:
        """A late synapse as a kernel over time, float32 [N_out, N_in, 1 + longest delay]: each
        weight where its delay puts it, longest first.

        Made when the file is loaded, which holds weights and delays alone.
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
        """What a delayed synapse delivers: a convolution over the time of its source, from before
        these steps on. [T * B, *layer.shape].
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
        """float32 [T * B, *source shape] to [T * B, *layer.shape], all steps at once."""
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
        ends = [
            (out - 1) * s + d * (k - 1) + 1 - n - p for out, n, k, s, d, p in sides
        ]  # what the layer crops is not computed
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
        """float32 [T * B, *source shape] to [T * B, *layer.shape], all steps at once."""
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

    def _recurrent(self, body: Nodes, layer: Layer, i: int) -> str:
        """What a recurrent synapse delivers in one step, from the spikes that it has kept: float32
        [B, *layer.shape].
        """
        synapse = layer.synapses[i]
        steps, (outputs, inputs) = layer.steps_back(synapse), synapse.weight.shape
        by_step = self.main.add("Transpose", self._kernel(layer, i), perm=[2, 1, 0])
        kernel = self.main.add("Reshape", by_step, self.shape(steps * inputs, outputs))
        x = body.add("Reshape", f"{layer.name}/past_{i}", self.shape(-1, *layer.shape))
        x = body.add("Reshape", self._pooled(body, x, synapse.pool), self.shape(-1, steps * inputs))
        return body.add("Reshape", body.add("MatMul", x, kernel), self.shape(-1, *layer.shape))

    def _keep(self, body: Nodes, layer: Layer, i: int) -> None:
        """The spikes of this step among those that a recurrent synapse keeps, in the place of the
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

    def _neurons(self, layer: Layer, sources: dict[str, str]) -> str:
        """One Scan over the steps: the least that must be sequential. Gives the spikes, float32 [T
        * B, *shape] (none if it does not fire).
        """
        name, remembers = layer.name, layer.current_decay != DECAY_ONE
        recurrent = [i for i, synapse in enumerate(layer.synapses) if synapse.source == name]
        limit = _largest_current(self.program, layer)
        wraps = limit is None or limit >= WRAP
        alone = not remembers and not recurrent  # then the current is known for all steps at once
        body = Nodes(f"{name}/")
        bias = self.constant(layer.bias.astype(np.int64) << 6, np.float32, f"{name}.bias")
        scan, drive = self._sums(layer, sources, bias if alone and not wraps else ""), f"{name}/i"
        for i in recurrent:
            drive = body.add("Add", drive, self._recurrent(body, layer, i))
        if remembers:  # in int32: before it wraps, the current may need 25 bits
            kept = self._decayed(body, f"{name}/u", layer.current_decay)
            drive = body.add("Add", kept, body.add("Cast", drive, to=TensorProto.INT32))
            drive = self._wrapped(body, drive, np.int32) if wraps else drive
            drive = body.add("Cast", drive, to=TensorProto.FLOAT, out=f"{name}/u_next")
        elif wraps and recurrent:
            drive = self._wrapped(body, drive, np.float32)
        if not alone:
            drive = body.add("Add", drive, self.by_channel(bias, layer.shape))
        elif wraps:
            scan = self.main.add(
                "Add",
                self._wrapped(self.main, scan, np.float32),
                self.by_channel(bias, layer.shape),
            )
        v = drive
        if layer.voltage_decay < DECAY_ONE:
            v = body.add(
                "Add",
                body.add(
                    "Cast",
                    self._decayed(body, f"{name}/v", layer.voltage_decay),
                    to=TensorProto.FLOAT,
                ),
                drive,
            )
        v = body.add(
            "Clip",
            v,
            self.constant(-RAIL, np.float32),
            self.constant(RAIL, np.float32),
            out="" if layer.fires else f"{name}/v_next",
        )
        # a membrane over the threshold is a whole number above 0, so that cut to 1 it is the spike
        if layer.fires:
            over = body.add("ThresholdedRelu", v, alpha=float(layer.threshold << 6))
            body.add("Sub", v, over, out=f"{name}/v_next")
            body.add(
                "Clip",
                over,
                self.constant(0, np.float32),
                self.constant(1, np.float32),
                out=f"{name}/s",
            )
        for i in recurrent:
            self._keep(body, layer, i)
        return self._scan(layer, body, scan, recurrent)

    def _scan(self, layer: Layer, body: Nodes, scan: str, recurrent: list[int]) -> str:
        """The body over the steps of `scan`, its states float32 inside."""
        name, add = layer.name, self.main.add
        states: list[tuple[str, int, tuple[int, ...]]] = [("v", TensorProto.INT32, layer.shape)]
        states += [
            (f"past_{i}", TensorProto.UINT8, (layer.steps_back(layer.synapses[i]), *layer.shape))
            for i in recurrent
        ]
        states += (
            [("u", TensorProto.INT32, layer.shape)] if layer.current_decay != DECAY_ONE else []
        )
        body_inputs: list[Any] = []
        body_outputs: list[Any] = []
        for state, dtype, shape in states:
            self.value(body_inputs, f"{name}/{state}", TensorProto.FLOAT, "B", *shape)
            self.value(body_outputs, f"{name}/{state}_next", TensorProto.FLOAT, "B", *shape)
            self.state(f"{name}.{state}", dtype, *shape)
        self.value(body_inputs, f"{name}/i", TensorProto.FLOAT, "B", *layer.shape)
        given = [add("Cast", f"{name}.{state}", to=TensorProto.FLOAT) for state, _, _ in states]
        results = [f"{name}/{state}_end" for state, _, _ in states]
        spikes = f"{name}/spikes"
        if layer.fires:
            self.value(body_outputs, f"{name}/s", TensorProto.FLOAT, "B", *layer.shape)
        graph = helper.make_graph(body.nodes, f"{name} step", body_inputs, body_outputs)
        outputs = [*results, *([spikes] if layer.fires else [])]
        self.main.nodes.append(
            helper.make_node(
                "Scan", [*given, scan], outputs, name=f"{name} steps", num_scan_inputs=1, body=graph
            )
        )
        for (state, dtype, _), end in zip(states, results, strict=True):
            add("Cast", end, to=dtype, out=f"{name}.{state}_out")
        if not layer.fires:
            return ""
        self.value(self.outputs, f"{name}.spikes", TensorProto.UINT8, "T", "B", *layer.shape)
        add("Cast", spikes, to=TensorProto.UINT8, out=f"{name}.spikes")
        return add("Reshape", spikes, self.shape(-1, *layer.shape))

    def _decayed(self, nodes: Nodes, x: str, decay: int) -> str:
        """tz(x * (4096 - decay)) of a float32 below 2^24, as int32: a cast cuts toward zero. A
        power of two scales exactly, all else in doubles.
        """
        keep = DECAY_ONE - decay
        if keep & (keep - 1) == 0:
            x = (
                nodes.add("Mul", x, self.constant(keep / DECAY_ONE, np.float32))
                if keep < DECAY_ONE
                else x
            )
        else:
            x = nodes.add(
                "Mul",
                nodes.add("Cast", x, to=TensorProto.DOUBLE),
                self.constant(keep / DECAY_ONE, np.float64),
            )
        return nodes.add("Cast", x, to=TensorProto.INT32)

    def _wrapped(self, nodes: Nodes, x: str, dtype: type[np.generic]) -> str:
        """Lava's wrap of the current to 24 bits: once (lava/proc/lif/models.py, 0.10.0)."""
        limit, circle = self.constant(WRAP, dtype), self.constant(2 * WRAP, dtype)
        below = nodes.add("LessOrEqual", x, self.constant(-WRAP, dtype))
        raised = nodes.add("Where", below, nodes.add("Add", x, circle), x)
        return nodes.add(
            "Where", nodes.add("Greater", x, limit), nodes.add("Sub", x, circle), raised
        )

    def _readout(self, last: Layer) -> None:
        value = f"{last.name}.v_out"
        if self.program.readout == "spikes":
            counts = self.main.add("Cast", f"{last.name}.spikes", to=TensorProto.INT32)
            value = self.main.add("ReduceSum", counts, self.constant([0], np.int64), keepdims=0)
        self.main.add("Reshape", value, self.shape(-1, last.neurons), out="readout")


def _exact_mean(pool: int) -> bool:
    """Whether float32 holds the mean of a window: if its area is a power of two."""
    return pool & (pool - 1) == 0


def _largest_current(program: Program, layer: Layer) -> int | None:
    """A bound on |u| before the wrap, None if there is none. InputError if the currents could leave
    32 bits.
    """
    most = 64 * largest_sum(program, layer)
    if layer.current_decay < DECAY_ONE and most > 2 * WRAP:
        raise InputError(
            f"layer {layer.name!r}: current memory with sums up to {most // 64}, expected at most"
            f" {2 * WRAP // 64}, as one wrap then keeps 24 bits; use fewer synapses or smaller"
            " weights"
        )
    return most * DECAY_ONE // layer.current_decay if layer.current_decay else None
