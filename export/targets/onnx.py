"""The target onnx: a program as an ONNX graph that carries its states, integer-exact and streaming.
ONNX Runtime runs it without torch.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto, helper

from tmkt.export.targets.onnx_parts import Nodes
from tmkt.export.targets.onnx_synapses import SynapseGraph
from tmkt.program.arithmetic import (
    CURRENT_LIMIT,
    CURRENT_SPAN,
    DECAY_ONE,
    MEMBRANE_LIMIT,
    STATE_ONE,
    STATE_SHIFT,
    WORD_LIMIT,
    WORD_SPAN,
)
from tmkt.program.model import INPUT, Layer, Program, largest_sum


class _State(NamedTuple):
    """A state of a layer: its name, its shape, and its types in the file and inside the Scan."""

    name: str
    outside: int
    shape: tuple[int, ...]
    inside: int = TensorProto.FLOAT


def write_onnx(program: Program, path: Path, classes: list[str] | None = None) -> None:
    """Write `network.onnx` (opset 21). The same program gives the same bytes.

    Inputs: `x` uint8 [T, B, C, H, W]; the states, zeros to start a sample: `<layer>.v` int32 [B,
    *shape] of every layer, `<layer>.u` where current_decay != 4096, and `<layer>.past_<i>` uint8
    [B, L, *source shape] where the layer's i-th synapse delivers late or is recurrent: the spikes
    that its source sent in the L = `Layer.steps_back` steps before, oldest first (not of a source
    that never fires).

    Outputs: `readout` int32 [B, K], the last membrane after the T steps or the spikes of these T
    steps; `<layer>.spikes` uint8 [T, B, *shape] of every layer that fires; every state as
    `<state>_out`, to be given to the next call: two calls in a row equal one. T and B are symbolic.
    `metadata_props["tmkt"]` is JSON {"readout", "max_count", "classes"}.

    All is computed in float32, which is two to three times as fast as int32 in ONNX Runtime
    (measured: it divides, selects and casts integers slowly), and exact: float32 holds every
    integer below 2^24 times any power of two. Sums over synapses are multiples of 64 below 2^23 *
    64 in whatever order; states are below 2^23; what else could grow larger is clipped to 2^23
    anyway, or is int32 (the current of layers that remember it). Where such a current may leave 24
    bits after its one wrap, the neurons are computed in doubles. int8 weights in the file become
    float32 once, when the file is loaded.
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
        most = STATE_ONE * largest_sum(self.program, layer)
        wraps = not _stays_below_wrap(layer, most)
        wide = remembers and most > CURRENT_SPAN  # u may leave 24 bits after its one wrap
        number = TensorProto.DOUBLE if wide else TensorProto.FLOAT
        dtype = np.float64 if wide else np.float32
        known_at_once = not remembers and not recurrent  # the currents of all steps
        body = Nodes(f"{name}/")
        scaled_bias = layer.bias.astype(np.int64) << STATE_SHIFT
        bias = self.constant(scaled_bias, np.float32, f"{name}.bias")
        sums = self.sums(layer, sources, bias if known_at_once and not wraps else "")
        drive = f"{name}/i"
        for i in recurrent:
            drive = body.add("Add", drive, self.recurrent_sum(body, layer, i))
        if wide:
            drive = self._wide_current(body, layer, drive)
        elif remembers:  # in int32: before it wraps, the current may need 25 bits
            kept = self._decayed(body, f"{name}/u", layer.current_decay)
            drive = body.add("Add", kept, body.add("Cast", drive, to=TensorProto.INT32))
            drive = self._wrapped(body, drive, np.int32) if wraps else drive
            drive = body.add("Cast", drive, to=TensorProto.FLOAT, out=f"{name}/u_next")
        elif wraps and recurrent:
            drive = self._wrapped(body, drive, np.float32)
        if not known_at_once:
            by_channel = self.by_channel(bias, layer.shape)
            by_channel = body.add("Cast", by_channel, to=number) if wide else by_channel
            drive = body.add("Add", drive, by_channel)
        elif wraps:
            wrapped = self._wrapped(self.main, sums, np.float32)
            sums = self.main.add("Add", wrapped, self.by_channel(bias, layer.shape))
        v = drive
        if layer.voltage_decay < DECAY_ONE:
            kept = self._decayed(body, f"{name}/v", layer.voltage_decay)
            v = body.add("Add", body.add("Cast", kept, to=number), drive)
        low = self.constant(-MEMBRANE_LIMIT, dtype)
        high = self.constant(MEMBRANE_LIMIT, dtype)
        v = body.add("Clip", v, low, high, out="" if layer.fires or wide else f"{name}/v_next")
        if wide:
            v_next = "" if layer.fires else f"{name}/v_next"
            v = body.add("Cast", v, to=TensorProto.FLOAT, out=v_next)
        if layer.fires:
            # A membrane over the threshold is a whole number above 0: cut to 1, it is the spike.
            threshold = float(layer.threshold << STATE_SHIFT)
            over = body.add("ThresholdedRelu", v, alpha=threshold)
            body.add("Sub", v, over, out=f"{name}/v_next")
            zero, one = self.constant(0, np.float32), self.constant(1, np.float32)
            body.add("Clip", over, zero, one, out=f"{name}/s")
        for i in recurrent:
            self.keep_spikes(body, layer, i)
        return self._scan(layer, body, sums, recurrent, number)

    def _scan(
        self, layer: Layer, body: Nodes, sums: str, recurrent: list[int], current: int
    ) -> str:
        """Add the Scan of `body` over the steps of `sums`; its states are float32 inside, but for
        the current, whose type there is `current`.
        """
        name, add = layer.name, self.main.add
        states = [_State("v", TensorProto.INT32, layer.shape)]
        for i in recurrent:
            back = layer.steps_back(layer.synapses[i])
            states.append(_State(f"past_{i}", TensorProto.UINT8, (back, *layer.shape)))
        if layer.current_decay != DECAY_ONE:
            states.append(_State("u", TensorProto.INT32, layer.shape, inside=current))
        body_inputs: list[Any] = []
        body_outputs: list[Any] = []
        for state in states:
            inside, shape = state.inside, state.shape
            self.value(body_inputs, f"{name}/{state.name}", inside, "B", *shape)
            self.value(body_outputs, f"{name}/{state.name}_next", inside, "B", *shape)
            self.state(f"{name}.{state.name}", state.outside, *shape)
        self.value(body_inputs, f"{name}/i", TensorProto.FLOAT, "B", *layer.shape)
        given = [add("Cast", f"{name}.{state.name}", to=state.inside) for state in states]
        results = [f"{name}/{state.name}_end" for state in states]
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
        for state, end in zip(states, results, strict=True):
            add("Cast", end, to=state.outside, out=f"{name}.{state.name}_out")
        if not layer.fires:
            return ""
        self.value(self.outputs, f"{name}.spikes", TensorProto.UINT8, "T", "B", *layer.shape)
        add("Cast", spikes, to=TensorProto.UINT8, out=f"{name}.spikes")
        return add("Reshape", spikes, self.shape(-1, *layer.shape))

    def _wide_current(self, body: Nodes, layer: Layer, drive: str) -> str:
        """Add a current that remembers and may leave 24 bits, in doubles: float32 would round."""
        kept = self._decayed(body, f"{layer.name}/u", layer.current_decay, np.float64)
        kept = body.add("Cast", kept, to=TensorProto.DOUBLE)
        u = body.add("Add", kept, body.add("Cast", drive, to=TensorProto.DOUBLE))
        u = self._wrapped(body, self._to_word(body, u), np.float64)
        return body.add("Identity", u, out=f"{layer.name}/u_next")

    def _decayed(
        self, nodes: Nodes, x: str, decay: int, dtype: type[np.generic] = np.float32
    ) -> str:
        """Add tz(x * (4096 - decay)) of a float32 below 2^24, or of a double below 2^32, as int32:
        a cast cuts toward zero. A power of two scales exactly, all else is multiplied in doubles.
        """
        keep = DECAY_ONE - decay
        is_power_of_two = keep & (keep - 1) == 0
        if not is_power_of_two:
            double = nodes.add("Cast", x, to=TensorProto.DOUBLE)
            x = nodes.add("Mul", double, self.constant(keep / DECAY_ONE, np.float64))
        elif keep < DECAY_ONE:
            x = nodes.add("Mul", x, self.constant(keep / DECAY_ONE, dtype))
        return nodes.add("Cast", x, to=TensorProto.INT32)

    def _to_word(self, nodes: Nodes, x: str) -> str:
        """Add the wrap of a double to 32 bits, as `arithmetic.to_word` does."""
        span = self.constant(WORD_SPAN, np.float64)
        below = nodes.add("LessOrEqual", x, self.constant(-WORD_LIMIT - 1, np.float64))
        raised = nodes.add("Where", below, nodes.add("Add", x, span), x)
        above = nodes.add("Greater", x, self.constant(WORD_LIMIT - 1, np.float64))
        return nodes.add("Where", above, nodes.add("Sub", x, span), raised)

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


def _stays_below_wrap(layer: Layer, most: int) -> bool:
    """Tell whether no current of a layer wraps, whose input is at most `most` in a step."""
    if layer.current_decay == 0:
        return False
    return most * DECAY_ONE // layer.current_decay < CURRENT_LIMIT
