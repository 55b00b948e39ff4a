"""The target c: a program as C99, a header and one file that need no library, no heap and no
floating point. docs/c.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tmkt.export.targets import c_templates as templates
from tmkt.export.targets.c_layers import (
    CLayer,
    SourceArray,
    as_map,
    is_delayed,
    layers_of,
    source_of,
)
from tmkt.export.targets.c_range import may_leave_32_bits
from tmkt.export.targets.c_synapses import synapse_function, table
from tmkt.files import writing
from tmkt.program.arithmetic import DECAY_ONE
from tmkt.program.model import Program, Synapse


@dataclass(frozen=True)
class Memory:
    """Memory that the C of a program takes: its state, and its constants (one byte a weight, one a
    delay where a synapse has any, two a bias). The program's own instructions are not counted.
    """

    ram_bytes: int
    flash_bytes: int


def memory_of(program: Program) -> Memory:
    """Count the memory that `network.h` states."""
    layers = layers_of(program)
    synapses = [synapse for layer in layers for synapse in layer.distinct]
    weights = sum(synapse.weight.size for synapse in synapses)
    delays = sum(synapse.weight.size for synapse in synapses if is_delayed(synapse))
    biases = sum(len(layer.bias) for layer in program.layers)
    shared, counts = _shared(layers), _counts(program)
    return Memory(
        ram_bytes=4 * (shared + counts) + sum(layer.state_bytes for layer in layers),
        flash_bytes=weights + delays + 2 * biases,
    )


def _shared(layers: list[CLayer]) -> int:
    """Count the sums of a step, for which all layers without a ring of sums share one room."""
    return max((layer.layer.neurons for layer in layers if not layer.slots), default=0)


def _counts(program: Program) -> int:
    """Count the counters of a read-out by spikes."""
    return program.classes if program.readout == "spikes" else 0


def write_c_header(program: Program, path: Path) -> None:
    """Write `network.h`: what `network.c` offers, and the memory that both need. The same program
    gives the same bytes.
    """
    with writing(path) as beside:
        beside.write_text(_header(program), encoding="ascii", newline="\n")


def write_c(program: Program, path: Path) -> None:
    """Write `network.c`: the program's constants, `tmkt_reset`, `tmkt_step` and access to read-out
    and spikes.

    C99 without undefined behaviour, whatever the input's bytes are; all intermediates stay in 32
    bits. The same program gives the same bytes.
    """
    with writing(path) as beside, open(beside, "wb") as file:
        for text in _source(program):
            file.write(text.encode("ascii"))


def _header(program: Program) -> str:
    layers = layers_of(program)
    synapses = [synapse for layer in layers for synapse in layer.distinct]
    weights = sum(synapse.weight.size for synapse in synapses)
    memory, shared, counts = memory_of(program), _shared(layers), _counts(program)
    state = [_members(layer) for layer in layers]
    if shared:
        state.append(f"    int32_t sums[{shared}]; /* of the layer at work */\n")
    if counts:
        state.append(f"    int32_t counts[{counts}]; /* spikes of the read-out */\n")
    readouts = {
        "membrane": "its membrane, in 1/64 of a weight",
        "spikes": "its spikes since the reset",
    }
    channels, height, width = as_map(program.input_shape)
    return templates.HEADER.substitute(
        layers=len(layers),
        neurons=sum(layer.neurons for layer in program.layers),
        weights=weights,
        ram=memory.ram_bytes,
        flash=memory.flash_bytes,
        channels=channels,
        height=height,
        width=width,
        input_size=channels * height * width,
        max_count=program.max_count,
        classes=program.classes,
        state="".join(state),
        readout=readouts[program.readout],
    )


def _members(layer: CLayer) -> str:
    neurons = layer.layer.neurons
    lines = [f"int32_t v[{neurons}];"]
    if layer.layer.current_decay < DECAY_ONE:
        lines.append(f"int32_t u[{neurons}];")
    if layer.slots:
        size = layer.slots * neurons
        lines.append(f"int32_t late[{size}]; /* sums of the steps to come, a ring */")
        lines.append("int32_t now;")
    if layer.layer.fires:
        lines.append(f"uint8_t spikes[{neurons}];")
    members = "".join(f"        {line}\n" for line in lines)
    return "    struct {\n" + members + f"    }} {layer.name};\n"


def _source(program: Program) -> Iterator[str]:
    layers = layers_of(program)
    yield templates.HELPERS
    if any(may_leave_32_bits(program, layer.layer) for layer in layers):
        yield templates.ADDED
    step = []
    for layer in layers:
        before: list[str] = []  # calls of synapses, before the neurons' update and after it
        after: list[str] = []
        yield from table("int16_t", f"{layer.name}_bias", layer.layer.bias)
        for i, (synapse, first) in enumerate(zip(layer.synapses, layer.first, strict=True)):
            source = source_of(program, layers, synapse)
            if first == i:
                yield from synapse_function(layer, source, synapse, f"{layer.name}_{i}")
            recurrent = synapse.source == layer.layer.name
            calls = after if recurrent else before
            calls.append(_call(layer, source, synapse, f"{layer.name}_{first}"))
        yield _update(layer, may_leave_32_bits(program, layer.layer))
        step += _layer_step(layer, before, after)
    yield templates.RESET
    last = layers[-1]
    if program.readout == "spikes":
        step.append(templates.COUNT.substitute(name=last.name))
    if not any("(input," in line for line in step):
        step.append("    (void)input;\n")
    yield templates.STEP.substitute(body="".join(step))
    cases = [
        f"    case {i}:\n        return state->{layer.name}.spikes;\n"
        for i, layer in enumerate(layers)
        if layer.layer.fires
    ]
    # Counts are kept in the order of the spikes, as membranes are.
    yield templates.READOUT.substitute(
        values="state->counts" if program.readout == "spikes" else f"state->{last.name}.v",
        positions=last.positions,
        channels=last.channels,
        cases="".join(cases),
    )


def _layer_step(layer: CLayer, before: list[str], after: list[str]) -> list[str]:
    """Give what tmkt_step does for a layer: its sums, its neurons, and what recurrent synapses send
    to later steps.
    """
    name, neurons, now = layer.name, layer.layer.neurons, f"state->{layer.name}.now"
    if not layer.slots:
        clear = f"    clear(state->sums, {neurons});\n"
        return [clear, *before, f"    {name}_update(state, state->sums);\n"]
    here = f"state->{name}.late + {now} * {neurons}"
    return [
        *before,
        f"    {name}_update(state, {here});\n",
        f"    clear({here}, {neurons});\n",
        f"    {now} = {now} + 1 == {layer.slots} ? 0 : {now} + 1;\n",
        *after,
    ]


def _call(layer: CLayer, source: SourceArray, synapse: Synapse, function: str) -> str:
    """Give the call of a synapse's function. A recurrent one is called when `now` is the next step
    already, which is where its spikes arrive without a delay.
    """
    ring, now = f"state->{layer.name}.late", f"state->{layer.name}.now"
    if is_delayed(synapse):
        return f"    {function}({source.expression}, {ring}, {now});\n"
    if layer.slots:
        return f"    {function}({source.expression}, {ring} + {now} * {layer.layer.neurons});\n"
    assert synapse.source != layer.layer.name  # a recurrent synapse delivers into a ring
    return f"    {function}({source.expression}, state->sums);\n"


def _update(layer: CLayer, wide: bool) -> str:
    name = layer.name
    current = f"sums[n] * {64 << layer.shift}"
    remembers = layer.layer.current_decay < DECAY_ONE
    if remembers:
        kept = _kept(f"state->{name}.u[n]", layer.layer.current_decay)
        current = f"added({kept}, {current})" if wide else f"{kept} + {current}"
    if layer.layer.fires:
        end = templates.FIRE.substitute(name=name, threshold=layer.layer.threshold << 6)
    else:
        end = f"            state->{name}.v[n] = v;\n"
    return templates.UPDATE.substitute(
        name=name,
        positions=layer.positions,
        channels=layer.channels,
        current=current,
        keep_current=f"            state->{name}.u[n] = u;\n" if remembers else "",
        membrane=_kept(f"state->{name}.v[n]", layer.layer.voltage_decay),
        end=end,
    )


def _kept(state: str, decay: int) -> str:
    return f"kept({state}, {DECAY_ONE - decay})"
