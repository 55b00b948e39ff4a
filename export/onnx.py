"""Writes a program as an ONNX graph that carries its states: integer-exact, streaming, without torch."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tmkt.errors import InputError
from tmkt.files import writing
from tmkt.program import DECAY_ONE, INPUT, Layer, Program, Synapse, conv_shape, largest_sum, pooled

OPSET, IR = 21, 10
RAIL = 2**23 - 1  # a membrane saturates here
WRAP = 2**23  # a current above this, or at or below its negative, wraps by 2^24


def write_onnx(program: Program, path: Path, classes: list[str] | None = None) -> None:
    """Writes `network.onnx` (opset 21). The same program gives the same bytes.

    Inputs: `x` uint8 [T, B, C, H, W]; the states, zeros to start a sample: `<layer>.v` int32 [B, *shape] of every layer, `<layer>.u` where
    current_decay != 4096, and `<layer>.past_<i>` uint8 [B, L, *source shape] where the layer's i-th synapse delivers late or is recurrent:
    what its source sent in the L = `Layer.steps_back` steps before, oldest first. Outputs: `readout` int32 [B, K], the last membrane after
    the T steps or the spikes of these T steps; `<layer>.spikes` uint8 [T, B, *shape] of every layer that fires; every state as
    `<state>_out`, to be given to the next call: two calls in a row equal one. T and B are symbolic. `metadata_props["tmkt"]` is JSON
    {"readout", "max_count", "classes"}.

    Sums over synapses are float32 (int8 weights in the file, cast once when the file is loaded): exact, as a program's sums stay below
    2^23, float32 holds every integer below 2^24, and so all partial sums in whatever order. Everything after them is int32.
    InputError for a program that int32 cannot hold.
    """
    model = _Builder(program).model(classes)
    onnx.checker.check_model(model, full_check=True)
    with writing(path) as beside:
        beside.write_bytes(model.SerializeToString(deterministic=True))


@dataclass
class _Nodes:
    """A graph under construction: its nodes, and a name for each result."""

    prefix: str = ""
    nodes: list[Any] = field(default_factory=list)

    def add(self, op: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        name = out or f"{self.prefix}{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name


class _Builder:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.main = _Nodes()
        self.constants: dict[str, Any] = {}
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def model(self, classes: list[str] | None) -> Any:
        program = self.program
        self._value(self.inputs, "x", TensorProto.UINT8, "T", "B", *program.input_shape)
        self._value(self.outputs, "readout", TensorProto.INT32, "B", program.classes)
        self.main.add("Shape", "x", out="steps_batch", start=0, end=2)
        sources = {INPUT: self._as_float("x", program.input_shape)}
        for layer in program.layers:
            spikes = self._neurons(layer, self._sums(layer, sources))
            if layer.fires:
                sources[layer.name] = self._as_float(spikes, layer.shape)
        self._readout(program.layers[-1])
        graph = helper.make_graph(self.main.nodes, "tmkt", self.inputs, self.outputs, list(self.constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="tmkt")
        info = {"readout": program.readout, "max_count": program.max_count, **({"classes": classes} if classes else {})}
        helper.set_model_props(model, {"tmkt": json.dumps(info)})
        return model

    @staticmethod
    def _value(values: list[Any], name: str, dtype: int, *shape: int | str) -> None:
        values.append(helper.make_tensor_value_info(name, dtype, list(shape)))

    def _state(self, name: str, dtype: int, *shape: int) -> None:
        self._value(self.inputs, name, dtype, "B", *shape)
        self._value(self.outputs, f"{name}_out", dtype, "B", *shape)

    def _constant(self, value: Any, dtype: type[np.generic], name: str = "") -> str:
        """The name of an initializer of the outer graph, which Scan bodies see too; one for equal values."""
        array = np.asarray(value, dtype)
        name = name or f"{array.dtype}_" + "_".join(str(n) for n in array.reshape(-1)) + ("" if array.ndim == 0 else "_list")
        self.constants.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def _as_float(self, name: str, shape: tuple[int, ...]) -> str:
        """uint8 [T, B, *shape] as float32 [T * B, *shape]: synapses see the steps as one batch."""
        flat = self.main.add("Reshape", name, self._constant([-1, *shape], np.int64))
        return self.main.add("Cast", flat, to=TensorProto.FLOAT)

    def _sums(self, layer: Layer, sources: dict[str, str]) -> str:
        """a << 6 of all steps, what recurrent synapses deliver left out: int32 [T, B, *shape]."""
        add = self.main.add
        shape = add("Concat", "steps_batch", self._constant(layer.shape, np.int64), axis=0)
        total = ""
        for i, synapse in enumerate(layer.synapses):
            if synapse.source == layer.name:
                continue
            if synapse.source not in sources:
                raise InputError(f"layer {layer.name!r}: reads {synapse.source!r}, expected a layer that fires; remove that synapse")
            if layer.steps_back(synapse):
                a = self._late(layer, i)
            else:
                weight = self._weight(layer, i, transposed=synapse.kind == "dense")
                a = self._synapse(layer, synapse, sources[synapse.source], weight)
            a = self._current(self.main, a, synapse)
            total = add("Add", total, a) if total else a
        return add("Reshape", total, shape) if total else add("Expand", self._constant(0, np.int32), shape)

    def _weight(self, layer: Layer, i: int, transposed: bool = False) -> str:
        """The mantissas of the layer's i-th synapse as float32; int8 in the file."""
        weight, _ = _mantissa(layer.synapses[i].weight)
        return self.main.add("Cast", self._constant(weight.T if transposed else weight, np.int8, f"{layer.name}.weight_{i}"), to=TensorProto.FLOAT)

    def _current(self, nodes: _Nodes, a: str, synapse: Synapse) -> str:
        """Sums of mantissas, float32, as int32 on the scale of the currents."""
        return nodes.add("Mul", nodes.add("Cast", a, to=TensorProto.INT32), self._constant(64 << _mantissa(synapse.weight)[1], np.int32))

    def _pooled(self, nodes: _Nodes, x: str, pool: int) -> str:
        """Sums over windows of float32 [n, C, H, W]."""
        if pool == 1:
            return x
        x = nodes.add("AveragePool", x, kernel_shape=[pool, pool], strides=[pool, pool])
        x = nodes.add("Mul", x, self._constant(pool**2, np.float32))
        return nodes.add("Round", x) if pool & (pool - 1) else x  # the mean is not exact unless the area is a power of two

    def _kernel(self, layer: Layer, i: int) -> str:
        """A late synapse as a kernel over time, float32 [N_out, N_in, 1 + longest delay]: each weight where its delay puts it, longest first.

        Made when the file is loaded, which holds weights and delays alone.
        """
        add, delays = self.main.add, layer.synapses[i].delays
        last = self._constant([-1], np.int64)
        weight = add("Unsqueeze", self._weight(layer, i), last)
        if delays is None:
            return weight
        name = self._constant(delays, np.uint8, f"{layer.name}.delays_{i}")
        which = add("Unsqueeze", add("Cast", name, to=TensorProto.INT32), last)
        there = add("Equal", which, self._constant(range(int(delays.max()), -1, -1), np.int32))
        return add("Mul", weight, add("Cast", there, to=TensorProto.FLOAT))

    def _late(self, layer: Layer, i: int) -> str:
        """What a delayed synapse delivers: a convolution over the time of its source, from before these steps on. [T * B, *layer.shape]."""
        add, synapse = self.main.add, layer.synapses[i]
        source, steps = self.program.shape_of(synapse.source), layer.steps_back(synapse)
        swap = [1, 0, *range(2, 2 + len(source))]
        past = f"{layer.name}.past_{i}"
        self._state(past, TensorProto.UINT8, steps, *source)
        sent = add("Concat", add("Transpose", past, perm=swap), "x" if synapse.source == INPUT else f"{synapse.source}.spikes", axis=0)
        end, axis = self._constant([2**31], np.int64), self._constant([0], np.int64)
        add("Transpose", add("Slice", sent, self._constant([-steps], np.int64), end, axis), perm=swap, out=f"{past}_out")
        x = self._pooled(self.main, self._as_float(sent, source), synapse.pool)
        inputs = self._constant([synapse.weight.shape[1]], np.int64)
        x = add("Reshape", x, add("Concat", add("Shape", sent, start=0, end=2), inputs, axis=0))
        a = add("Conv", add("Transpose", x, perm=[1, 2, 0]), self._kernel(layer, i))
        return add("Reshape", add("Transpose", a, perm=[2, 0, 1]), self._constant([-1, *layer.shape], np.int64))

    def _recurrent(self, body: _Nodes, layer: Layer, i: int) -> str:
        """What a recurrent synapse delivers in one step, from the spikes that it has kept: int32 [B, *layer.shape]."""
        synapse = layer.synapses[i]
        steps, (outputs, inputs) = layer.steps_back(synapse), synapse.weight.shape
        by_step = self.main.add("Transpose", self._kernel(layer, i), perm=[2, 1, 0])
        kernel = self.main.add("Reshape", by_step, self._constant([steps * inputs, outputs], np.int64))
        past = f"{layer.name}/past_{i}"
        x = body.add("Cast", past, to=TensorProto.FLOAT)
        x = self._pooled(body, body.add("Reshape", x, self._constant([-1, *layer.shape], np.int64)), synapse.pool)
        a = body.add("MatMul", body.add("Reshape", x, self._constant([-1, steps * inputs], np.int64)), kernel)
        return body.add("Reshape", self._current(body, a, synapse), self._constant([-1, *layer.shape], np.int64))

    def _keep(self, body: _Nodes, layer: Layer, i: int) -> None:
        """The spikes of this step among those that a recurrent synapse keeps, in the place of the oldest."""
        past, one = f"{layer.name}/past_{i}", self._constant([1], np.int64)
        younger = body.add("Slice", past, one, self._constant([2**31], np.int64), one)
        body.add("Concat", younger, body.add("Unsqueeze", f"{layer.name}/s", one), axis=1, out=f"{past}_next")

    def _synapse(self, layer: Layer, synapse: Synapse, x: str, weight: str) -> str:
        """float32 [T * B, *source shape] to [T * B, *layer.shape], at once."""
        add, pool, source = self.main.add, synapse.pool, self.program.shape_of(synapse.source)
        x = self._pooled(self.main, x, pool)
        if synapse.kind == "dense":
            flat = add("Reshape", x, self._constant([-1, int(np.prod(pooled(source, pool)))], np.int64))
            return add("Reshape", add("MatMul", flat, weight), self._constant([-1, *layer.shape], np.int64))
        pads = [*synapse.padding, *synapse.padding]
        a = add("Conv", x, weight, strides=synapse.stride, dilations=synapse.dilation, group=synapse.groups, pads=pads)
        if conv_shape(synapse, source) != layer.shape:
            start, end = self._constant([0, 0], np.int64), self._constant(layer.shape[1:], np.int64)
            a = add("Slice", a, start, end, self._constant([2, 3], np.int64))
        return a

    def _neurons(self, layer: Layer, current: str) -> str:
        """One Scan over the steps: the least that must be sequential. Gives the name of the spikes (none if the layer does not fire)."""
        name, remembers = layer.name, layer.current_decay != DECAY_ONE
        limit = _largest_current(self.program, layer)
        wraps = limit is None or limit >= WRAP
        body = _Nodes(f"{name}/")
        bias = self._constant((layer.bias.astype(np.int64) << 6).reshape(-1, *[1] * (len(layer.shape) - 1)), np.int32, f"{name}.bias")
        states: list[tuple[str, int, tuple[int, ...]]] = [("v", TensorProto.INT32, layer.shape)]
        scan, drive = current, f"{name}/i"
        recurrent = [i for i, synapse in enumerate(layer.synapses) if synapse.source == name]
        for i in recurrent:
            states.append((f"past_{i}", TensorProto.UINT8, (layer.steps_back(layer.synapses[i]), *layer.shape)))
            drive = body.add("Add", drive, self._recurrent(body, layer, i))
        if remembers:
            states.append(("u", TensorProto.INT32, layer.shape))
            drive = body.add("Add", self._decayed(body, f"{name}/u", layer.current_decay), drive)
        if remembers or recurrent:
            drive = self._wrapped(body, drive) if wraps else drive
            if remembers:
                body.add("Identity", drive, out=f"{name}/u_next")
            drive = body.add("Add", drive, bias)
        else:  # without memory the current is known for all steps at once
            scan = self.main.add("Add", self._wrapped(self.main, scan) if wraps else scan, bias)
        v = body.add("Add", self._decayed(body, f"{name}/v", layer.voltage_decay), drive) if layer.voltage_decay < DECAY_ONE else drive
        v = body.add("Clip", v, self._constant(-RAIL, np.int32), self._constant(RAIL, np.int32), out="" if layer.fires else f"{name}/v_next")
        if layer.fires:
            fired = body.add("Greater", v, self._constant(layer.threshold << 6, np.int32))
            body.add("Where", fired, self._constant(0, np.int32), v, out=f"{name}/v_next")
            body.add("Cast", fired, to=TensorProto.UINT8, out=f"{name}/s")
        for i in recurrent:
            self._keep(body, layer, i)
        body_inputs: list[Any] = []
        body_outputs: list[Any] = []
        for state, dtype, shape in states:
            self._value(body_inputs, f"{name}/{state}", dtype, "B", *shape)
            self._value(body_outputs, f"{name}/{state}_next", dtype, "B", *shape)
            self._state(f"{name}.{state}", dtype, *shape)
        self._value(body_inputs, f"{name}/i", TensorProto.INT32, "B", *layer.shape)
        results = [f"{name}.{state}_out" for state, _, _ in states]
        if layer.fires:
            self._value(body_outputs, f"{name}/s", TensorProto.UINT8, "B", *layer.shape)
            self._value(self.outputs, f"{name}.spikes", TensorProto.UINT8, "T", "B", *layer.shape)
            results.append(f"{name}.spikes")
        graph = helper.make_graph(body.nodes, f"{name} step", body_inputs, body_outputs)
        given = [*(f"{name}.{state}" for state, _, _ in states), scan]
        self.main.nodes.append(helper.make_node("Scan", given, results, name=f"{name} steps", num_scan_inputs=1, body=graph))
        return f"{name}.spikes"

    def _decayed(self, nodes: _Nodes, x: str, decay: int) -> str:
        """tz(x * (4096 - decay)) in 32 bits: x = 4096 * high + low, all of one sign, as ONNX divides integers towards zero.

        Then x * keep / 4096 = high * keep + low * keep / 4096, whose second term alone has a fraction; with |x| <= 2^23, all stay below 2^25.
        """
        keep = DECAY_ONE - decay
        if keep == DECAY_ONE:
            return x
        if DECAY_ONE % keep == 0:
            return nodes.add("Div", x, self._constant(DECAY_ONE // keep, np.int32))
        one, factor = self._constant(DECAY_ONE, np.int32), self._constant(keep, np.int32)
        high = nodes.add("Div", x, one)
        low = nodes.add("Sub", x, nodes.add("Mul", high, one))
        return nodes.add("Add", nodes.add("Mul", high, factor), nodes.add("Div", nodes.add("Mul", low, factor), one))

    def _wrapped(self, nodes: _Nodes, x: str) -> str:
        """Lava's wrap of the current to 24 bits: once (lava/proc/lif/models.py, 0.10.0)."""
        limit, circle = self._constant(WRAP, np.int32), self._constant(2 * WRAP, np.int32)
        below = nodes.add("LessOrEqual", x, self._constant(-WRAP, np.int32))
        raised = nodes.add("Where", below, nodes.add("Add", x, circle), x)
        return nodes.add("Where", nodes.add("Greater", x, limit), nodes.add("Sub", x, circle), raised)

    def _readout(self, last: Layer) -> None:
        value = f"{last.name}.v_out"
        if self.program.readout == "spikes":
            counts = self.main.add("Cast", f"{last.name}.spikes", to=TensorProto.INT32)
            value = self.main.add("ReduceSum", counts, self._constant([0], np.int64), keepdims=0)
        self.main.add("Reshape", value, self._constant([-1, last.neurons], np.int64), out="readout")


def _mantissa(weight: NDArray[np.int16]) -> tuple[NDArray[np.int8], int]:
    """int8 weights and the left shift that makes them the program's: even ones are stored halved."""
    shift = int(np.abs(weight).max(initial=0) > 127)  # a program's weights above 127 are even
    return (weight >> shift).astype(np.int8), shift


def _largest_current(program: Program, layer: Layer) -> int | None:
    """A bound on |u| before the wrap, None if there is none. InputError if the currents could leave 32 bits."""
    most = 64 * largest_sum(program, layer)
    if layer.current_decay < DECAY_ONE and most > 2 * WRAP:
        raise InputError(
            f"layer {layer.name!r}: current memory with sums up to {most // 64}, expected at most {2 * WRAP // 64}, as one wrap then keeps 24 bits; "
            f"use fewer synapses or smaller weights"
        )
    return most * DECAY_ONE // layer.current_decay if layer.current_decay else None
