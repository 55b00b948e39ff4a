"""The target onnx: a program as an ONNX graph that carries its states, integer-exact and streaming.
ONNX Runtime runs it without torch.
"""

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from tmkt.errors import InputError
from tmkt.export.targets.onnx_parts import Nodes
from tmkt.export.targets.onnx_synapses import SynapseGraph
from tmkt.program.arithmetic import (
    CURRENT_LIMIT,
    CURRENT_SPAN,
    DECAY_ONE,
    MEMBRANE_LIMIT,
    STATE_ONE,
    STATE_SHIFT,
)
from tmkt.program.model import INPUT, Layer, Program, largest_sum


def write_onnx(program: Program, path: Path, classes: list[str] | None = None) -> None:
    """Write `network.onnx` (opset 21). The same program gives the same bytes.

    Inputs: `x` uint8 [T, B, C, H, W]; the states, zeros to start a sample: `<layer>.v` int32 [B,
    *shape] of every layer, `<layer>.u` where current_decay != 4096, and `<layer>.past_<i>` uint8
    [B, L, *source shape] where the layer's i-th synapse delivers late or is recurrent: the spikes
    that its source sent in the L = `Layer.steps_back` steps before, oldest first.

    Outputs: `readout` int32 [B, K], the last membrane after the T steps or the spikes of these T
    steps; `<layer>.spikes` uint8 [T, B, *shape] of every layer that fires; every state as
    `<state>_out`, to be given to the next call: two calls in a row equal one. T and B are symbolic.
    `metadata_props["tmkt"]` is JSON {"readout", "max_count", "classes"}.

    All is computed in float32, which is two to three times as fast as int32 in ONNX Runtime
    (measured: it divides, selects and casts integers slowly), and exact: float32 holds every
    integer below 2^24 times any power of two. Sums over synapses are multiples of 64 below 2^23 *
    64 in whatever order; states are below 2^23; what else could grow larger is clipped to 2^23
    anyway, or is int32 (the current of layers that remember it). int8 weights in the file become
    float32 once, when the file is loaded. InputError for a program that int32 cannot hold.
    """
    info = {"readout": program.readout, "max_count": program.max_count}
    _ProgramGraph(program).save(path, {**info, **({"classes": classes} if classes else {})})


class _ProgramGraph(SynapseGraph):
    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.value(self.outputs, "readout", TensorProto.INT32, "B", program.classes)
        sources = {INPUT: self.as_float("x", program.input_shape)}
        for layer in program.layers:
            spikes = self._neurons(layer, sources)
            if layer.fires:
                sources[layer.name] = spikes
        self._readout(program.layers[-1])

    def _neurons(self, layer: Layer, sources: dict[str, str]) -> str:
        """Add the neurons as one Scan over the steps, with no more in it than must be sequential.
        Give the spikes, float32 [T * B, *shape] (no name if it does not fire).
        """
        name, remembers = layer.name, layer.current_decay != DECAY_ONE
        recurrent = [i for i, synapse in enumerate(layer.synapses) if synapse.source == name]
        limit = _largest_current(self.program, layer)
        wraps = limit is None or limit >= CURRENT_LIMIT
        known_at_once = not remembers and not recurrent  # the currents of all steps
        body = Nodes(f"{name}/")
        scaled_bias = layer.bias.astype(np.int64) << STATE_SHIFT
        bias = self.constant(scaled_bias, np.float32, f"{name}.bias")
        sums = self.sums(layer, sources, bias if known_at_once and not wraps else "")
        drive = f"{name}/i"
        for i in recurrent:
            drive = body.add("Add", drive, self.recurrent_sum(body, layer, i))
        if remembers:  # in int32: before it wraps, the current may need 25 bits
            kept = self._decayed(body, f"{name}/u", layer.current_decay)
            drive = body.add("Add", kept, body.add("Cast", drive, to=TensorProto.INT32))
            drive = self._wrapped(body, drive, np.int32) if wraps else drive
            drive = body.add("Cast", drive, to=TensorProto.FLOAT, out=f"{name}/u_next")
        elif wraps and recurrent:
            drive = self._wrapped(body, drive, np.float32)
        if not known_at_once:
            drive = body.add("Add", drive, self.by_channel(bias, layer.shape))
        elif wraps:
            wrapped = self._wrapped(self.main, sums, np.float32)
            sums = self.main.add("Add", wrapped, self.by_channel(bias, layer.shape))
        v = drive
        if layer.voltage_decay < DECAY_ONE:
            kept = self._decayed(body, f"{name}/v", layer.voltage_decay)
            v = body.add("Add", body.add("Cast", kept, to=TensorProto.FLOAT), drive)
        low = self.constant(-MEMBRANE_LIMIT, np.float32)
        high = self.constant(MEMBRANE_LIMIT, np.float32)
        v = body.add("Clip", v, low, high, out="" if layer.fires else f"{name}/v_next")
        if layer.fires:
            # A membrane over the threshold is a whole number above 0: cut to 1, it is the spike.
            threshold = float(layer.threshold << STATE_SHIFT)
            over = body.add("ThresholdedRelu", v, alpha=threshold)
            body.add("Sub", v, over, out=f"{name}/v_next")
            zero, one = self.constant(0, np.float32), self.constant(1, np.float32)
            body.add("Clip", over, zero, one, out=f"{name}/s")
        for i in recurrent:
            self.keep_spikes(body, layer, i)
        return self._scan(layer, body, sums, recurrent)

    def _scan(self, layer: Layer, body: Nodes, sums: str, recurrent: list[int]) -> str:
        """Add the Scan of `body` over the steps of `sums`; its states are float32 inside."""
        name, add = layer.name, self.main.add
        states: list[tuple[str, int, tuple[int, ...]]] = [("v", TensorProto.INT32, layer.shape)]
        for i in recurrent:
            back = layer.steps_back(layer.synapses[i])
            states.append((f"past_{i}", TensorProto.UINT8, (back, *layer.shape)))
        if layer.current_decay != DECAY_ONE:
            states.append(("u", TensorProto.INT32, layer.shape))
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
        outputs = [*results, spikes] if layer.fires else results
        self.main.nodes.append(
            helper.make_node(
                "Scan", [*given, sums], outputs, name=f"{name} steps", num_scan_inputs=1, body=graph
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
        """Add tz(x * (4096 - decay)) of a float32 below 2^24, as int32: a cast cuts toward zero. A
        power of two scales exactly, all else is multiplied in doubles.
        """
        keep = DECAY_ONE - decay
        is_power_of_two = keep & (keep - 1) == 0
        if not is_power_of_two:
            double = nodes.add("Cast", x, to=TensorProto.DOUBLE)
            x = nodes.add("Mul", double, self.constant(keep / DECAY_ONE, np.float64))
        elif keep < DECAY_ONE:
            x = nodes.add("Mul", x, self.constant(keep / DECAY_ONE, np.float32))
        return nodes.add("Cast", x, to=TensorProto.INT32)

    def _wrapped(self, nodes: Nodes, x: str, dtype: type[np.generic]) -> str:
        """Add Lava's wrap of the current to 24 bits: once (lava/proc/lif/models.py, 0.10.0)."""
        limit, span = self.constant(CURRENT_LIMIT, dtype), self.constant(CURRENT_SPAN, dtype)
        below = nodes.add("LessOrEqual", x, self.constant(-CURRENT_LIMIT, dtype))
        raised = nodes.add("Where", below, nodes.add("Add", x, span), x)
        above = nodes.add("Greater", x, limit)
        return nodes.add("Where", above, nodes.add("Sub", x, span), raised)

    def _readout(self, last: Layer) -> None:
        value = f"{last.name}.v_out"
        if self.program.readout == "spikes":
            counts = self.main.add("Cast", f"{last.name}.spikes", to=TensorProto.INT32)
            value = self.main.add("ReduceSum", counts, self.constant([0], np.int64), keepdims=0)
        self.main.add("Reshape", value, self.shape(-1, last.neurons), out="readout")


def _largest_current(program: Program, layer: Layer) -> int | None:
    """Give a bound on |u| before the wrap, None if there is none. InputError if the currents could
    leave 32 bits.
    """
    most = STATE_ONE * largest_sum(program, layer)
    if layer.current_decay < DECAY_ONE and most > CURRENT_SPAN:
        raise InputError(
            f"layer {layer.name!r}: current memory with sums up to {most // 64}, expected at most"
            f" {CURRENT_SPAN // 64}, as one wrap then keeps 24 bits; use fewer synapses or smaller"
            " weights"
        )
    return most * DECAY_ONE // layer.current_decay if layer.current_decay else None
