"""The C of a layer: its sums, its neurons, and the order of the two."""

from tmkt.export.targets import c_layer_templates as templates
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
        "neurons": _positions(layer),
    }
    before: list[str] = []
    after: list[str] = []
    for synapse, source, first in zip(layer.synapses, sources, layer.first, strict=True):
        recurrent = synapse.source == layer.layer.name
        (after if recurrent else before).append(
            _call(layer, source, synapse, f"{layer.name}_{first}")
        )
    template = templates.RING_LAYER if layer.slots else templates.LAYER
    text = template.substitute(common, calls="".join(before), after="".join(after))
    return _neurons(layer, may_leave_32_bits(program, layer.layer)) + text


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


def _positions(layer: CLayer) -> str:
    """Give the loop over the positions whose sums are there."""
    kind, words, bits = layer.spikes.kind, layer.spikes.words, layer.spikes.word_bits
    each = []
    for word in range(words):
        c0 = word * bits
        if layer.slots:
            sums, less = f"late + i * {layer.channels} + {c0}", ""
        else:
            at = c0 // 2 if layer.pairs else c0
            sums = f"state->sums + i * {layer.sum_words} + {at}"
            less = ", state->taps[i]"
        spikes = f"state->{layer.name}.spikes[position * {words} + {word}] = ({kind})"
        each.append(
            templates.WORD.substitute(
                target=spikes if layer.layer.fires else "(void)",
                name=layer.name,
                channels=layer.channels,
                offset=f" + {c0}" if c0 else "",
                c0=c0,
                sums=sums,
                less=less,
            )
        )
    return templates.POSITIONS.substitute(
        count=layer.positions if layer.slots else layer.rows * layer.width,
        begin="" if layer.slots or layer.height == layer.rows else f"row * {layer.width} + ",
        each="".join(each),
    )


def _neurons(layer: CLayer, wide: bool) -> str:
    """Give the function of the neurons of one position, or of as many as a word has bits."""
    name, words, bits = layer.name, layer.spikes.words, layer.spikes.word_bits
    remembers = layer.layer.current_decay < DECAY_ONE
    end = f"{name}_bias + {layer.channels}"
    if words > 1:
        end = f"{name}_bias + (c0 + {bits} < {layer.channels} ? c0 + {bits} : {layer.channels})"
    if layer.pairs and not layer.slots:
        each = templates.PAIR + _neuron(layer, wide, "lower(pair)")
        if layer.channels > 1:
            each += templates.HALF_PAIR if layer.channels % 2 else ""
            each += _neuron(layer, wide, "upper(pair)")
    else:
        each = _neuron(layer, wide, "*sums++" if layer.slots else "number(*sums++ - less)")
    return templates.NEURONS.substitute(
        name=name,
        sum="int32_t" if layer.slots else "uint32_t",
        less_parameter="" if layer.slots else ", uint32_t less",
        currents=f"    int32_t *restrict current = state->{name}.u + n;\n" if remembers else "",
        end=end,
        each=each,
        fired="    uint32_t fired = 0, bit = 1;\n" if layer.layer.fires else "",
        result=f"    return {'fired' if layer.layer.fires else '0'};\n",
    )


def _neuron(layer: CLayer, wide: bool, sum_: str) -> str:
    neurons = layer.layer
    current = f"{sum_} * {64 << layer.shift}"
    remembers = neurons.current_decay < DECAY_ONE
    if remembers:
        kept = _kept("*current", neurons.current_decay)
        current = f"added({kept}, {current})" if wide else f"{kept} + {current}"
    if remembers or layer.current_limit >= CURRENT_LIMIT:
        current = f"wrapped({current})"
    membrane = f"{_kept('membrane(*low, *high)', neurons.voltage_decay)} + u + *bias++ * 64"
    if layer.membrane_may_clip:
        membrane = f"clipped({membrane})"
    fire = templates.FIRE.substitute(threshold=neurons.threshold << 6) if neurons.fires else ""
    return templates.NEURON.substitute(
        current=current,
        keep_current="            *current++ = u;\n" if remembers else "",
        mutable="" if neurons.fires else "const ",
        membrane=membrane,
        fire=fire,
        shift="            bit <<= 1;\n" if neurons.fires else "",
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
