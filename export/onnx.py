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

    Inputs: `x` uint8 [T, B, C, H, W]; `<layer>.v` int32 [B, *shape] of every layer, and `<layer>.u` where current_decay != 4096: zeros
    start a sample. Outputs: `readout` int32 [B, K], the last membrane after the T steps or the spikes of these T steps;
    `<layer>.spikes` uint8 [T, B, *shape] of every layer that fires; `<layer>.v_out` and `<layer>.u_out`, to be given to the next call: two
    calls in a row equal one. T and B are symbolic. `metadata_props["tmkt"]` is JSON {"readout", "max_count", "classes"}.

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
        """a << 6 of all steps: int32 [T, B, *shape]."""
        add = self.main.add
        total = ""
        for i, synapse in enumerate(layer.synapses):
            if synapse.source not in sources:
                raise InputError(f"layer {layer.name!r}: reads {synapse.source!r}, expected a layer that fires; remove that synapse")
            weight, shift = _mantissa(synapse.weight)
            name = self._constant(weight if synapse.kind == "conv" else weight.T, np.int8, f"{layer.name}.weight_{i}")
            a = self._synapse(layer, synapse, sources[synapse.source], add("Cast", name, to=TensorProto.FLOAT))
            a = add("Mul", add("Cast", a, to=TensorProto.INT32), self._constant(64 << shift, np.int32))
            total = add("Add", total, a) if total else a
        shape = add("Concat", "steps_batch", self._constant(layer.shape, np.int64), axis=0)
        return add("Reshape", total, shape)

    def _synapse(self, layer: Layer, synapse: Synapse, x: str, weight: str) -> str:
        """float32 [T * B, *source shape] to [T * B, *layer.shape]."""
        add, pool, source = self.main.add, synapse.pool, self.program.shape_of(synapse.source)
        if pool > 1:
            x = add("AveragePool", x, kernel_shape=[pool, pool], strides=[pool, pool])
            x = add("Mul", x, self._constant(pool**2, np.float32))
            if pool & (pool - 1):  # the mean of a window is not exact unless its area is a power of two
                x = add("Round", x)
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
        states, scan = [f"{name}.v"], current
        drive = f"{name}/i"
        if remembers:
            states.append(f"{name}.u")
            drive = body.add("Add", self._decayed(body, f"{name}/u", layer.current_decay), drive)
            drive = self._wrapped(body, drive) if wraps else drive
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
        body_inputs: list[Any] = []
        body_outputs: list[Any] = []
        for state in states:
            inner = state.replace(f"{name}.", f"{name}/")
            self._value(body_inputs, inner, TensorProto.INT32, "B", *layer.shape)
            self._value(body_outputs, f"{inner}_next", TensorProto.INT32, "B", *layer.shape)
            self._value(self.inputs, state, TensorProto.INT32, "B", *layer.shape)
            self._value(self.outputs, f"{state}_out", TensorProto.INT32, "B", *layer.shape)
        self._value(body_inputs, f"{name}/i", TensorProto.INT32, "B", *layer.shape)
        results = [f"{state}_out" for state in states]
        if layer.fires:
            self._value(body_outputs, f"{name}/s", TensorProto.UINT8, "B", *layer.shape)
            self._value(self.outputs, f"{name}.spikes", TensorProto.UINT8, "T", "B", *layer.shape)
            results.append(f"{name}.spikes")
        graph = helper.make_graph(body.nodes, f"{name} step", body_inputs, body_outputs)
        self.main.nodes.append(helper.make_node("Scan", [*states, scan], results, name=f"{name} steps", num_scan_inputs=1, body=graph))
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
