"""The C of a layer: its sums, its neurons, and the order of the two."""

from tmkt.export.targets import c_templates as templates
from tmkt.export.targets.c_layers import CLayer, SourceArray, is_delayed
from tmkt.export.targets.c_range import may_leave_32_bits
from tmkt.program.arithmetic import CURRENT_LIMIT, DECAY_ONE
from tmkt.program.model import Program, Synapse


def layer_functions(program: Program, layer: CLayer, sources: list[SourceArray]) -> str:
    """Give the functions of one step of a layer; `sources`: the array of each of its synapses."""
    inputs = any(source.is_input for source in sources)
    common = {
        "name": layer.name,
        "input_parameter": ", const uint8_t *input" if inputs else "",
        "height": layer.height,
        "rows": layer.rows,
        "sums": layer.rows * layer.width * layer.sum_words,
        "taps": layer.rows * layer.width,
        "layer_neurons": layer.layer.neurons,
        "slots": layer.slots,
        "neurons": _neurons(layer),
    }
    before, after = [], []
    for synapse, source, first in zip(layer.synapses, sources, layer.first, strict=True):
        recurrent = synapse.source == layer.layer.name
        (after if recurrent else before).append(
            _call(layer, source, synapse, f"{layer.name}_{first}")
        )
    template = templates.RING_LAYER if layer.slots else templates.LAYER
    text = template.substitute(common, calls="".join(before), after="".join(after))
    return _neuron(layer, may_leave_32_bits(program, layer.layer)) + text


def layer_call(layer: CLayer, sources: list[SourceArray]) -> str:
    """Give the call of a layer's step."""
    inputs = any(source.is_input for source in sources)
    return f"    {layer.name}(state{', input' if inputs else ''});\n"


def _call(layer: CLayer, source: SourceArray, synapse: Synapse, function: str) -> str:
    """Give the call of a synapse's function. A recurrent one is called when `now` is the next step
    already, which is where its spikes arrive without a delay.
    """
    if layer.slots:
        ring, now = f"state->{layer.name}.late", f"state->{layer.name}.now"
        if is_delayed(synapse):
            return f"    {function}({source.expression}, {ring}, {now});\n"
        sums = f"{ring} + {now} * {layer.layer.neurons}"
        if synapse.kind == "dense":
            return f"    {function}({source.expression}, {sums});\n"
        rows = f"    for (int32_t row = 0; row < {layer.height}; row++)\n"
        at = f"{sums} + row * {layer.width * layer.channels}"
        return f"{rows}        {function}({source.expression}, row, {at});\n"
    taps = ", state->taps" if layer.packing(synapse) else ""
    if synapse.kind == "dense":
        return f"        {function}({source.expression}, state->sums{taps});\n"
    if layer.rows == 1:
        return f"        {function}({source.expression}, row, state->sums{taps});\n"
    rows = f"        for (int32_t each = 0; each < {layer.rows}; each++)\n"
    sums = f"state->sums + each * {layer.width * layer.sum_words}"
    taps = f", state->taps + each * {layer.width}" if taps else ""
    return f"{rows}            {function}({source.expression}, each, {sums}{taps});\n"


def _neurons(layer: CLayer) -> str:
    kind, words = layer.spikes.kind, layer.spikes.words
    bits, name = int(kind[4:-2]), layer.name
    settings: dict[str, object] = {"name": name, "bits": bits, "channels": layer.channels}
    if layer.slots:
        each = templates.ONE.substitute(settings, sum="sums[c]")
        at = templates.RING_AT.substitute(settings)
    else:
        at = templates.SUMS_AT.substitute(sum_words=layer.sum_words)
        if layer.pairs:
            each = templates.PAIR.substitute(settings)
            if layer.channels > 1:
                odd = layer.channels % 2 == 1
                condition = f"                    if (c + 1 < {layer.channels})\n" if odd else ""
                indent = "    " if odd else ""
                each += templates.SECOND.substitute(settings, condition=condition, indent=indent)
        else:
            each = templates.ONE.substitute(settings, sum="number(sums[c] - less)")
    spikes = f"                state->{name}.spikes[position * {words} + word] = ({kind})fired;\n"
    last = str(layer.channels)
    if words > 1:
        last = f"word == {words - 1} ? {layer.channels} : (word + 1) * {bits}"
    return templates.NEURONS.substitute(
        settings,
        count=layer.positions if layer.slots else layer.rows * layer.width,
        begin="" if layer.slots or layer.height == layer.rows else f"row * {layer.width} + ",
        at=at,
        words=words,
        last=last,
        stride=2 if layer.pairs and not layer.slots else 1,
        each=each,
        spikes=spikes if layer.layer.fires else "                (void)fired;\n",
    )


def _neuron(layer: CLayer, wide: bool) -> str:
    name, neurons = layer.name, layer.layer
    current = f"sum * {64 << layer.shift}"
    remembers = neurons.current_decay < DECAY_ONE
    if remembers:
        kept = _kept(f"state->{name}.u[n]", neurons.current_decay)
        current = f"added({kept}, {current})" if wide else f"{kept} + {current}"
    if remembers or layer.current_limit >= CURRENT_LIMIT:
        current = f"wrapped({current})"
    before = f"membrane(state->{name}.low[n], state->{name}.high[n])"
    membrane = f"{_kept(before, neurons.voltage_decay)} + u + (int32_t){name}_bias[c] * 64"
    if layer.membrane_may_clip:
        membrane = f"clipped({membrane})"
    end = templates.FIRE if neurons.fires else templates.INTEGRATE
    return templates.NEURON.substitute(
        name=name,
        current=current,
        keep_current=f"    state->{name}.u[n] = u;\n" if remembers else "",
        membrane=membrane,
        end=end.substitute(name=name, threshold=neurons.threshold << 6),
    )


def _kept(state: str, decay: int) -> str:
    """Give the C of what a state keeps: halves and the like are cheaper than any share."""
    keep = DECAY_ONE - decay
    if keep == 0:
        return "0"
    if keep == DECAY_ONE:
        return state
    if DECAY_ONE % keep == 0:
        return f"{state} / {DECAY_ONE // keep}"
    return f"kept({state}, {keep})"
