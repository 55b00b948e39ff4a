"""The target c: a program as C99, a header and one file that need no library, no heap and no
floating point. docs/c.md.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tmkt.export.targets import c_templates as templates
from tmkt.export.targets.c_events import Camera, events_header, events_source
from tmkt.export.targets.c_layers import (
    CLayer,
    Member,
    as_map,
    is_delayed,
    layers_of,
    size_of,
    source_of,
)
from tmkt.export.targets.c_neurons import layer_call, layer_functions
from tmkt.export.targets.c_synapses import synapse_function, table
from tmkt.files import writing
from tmkt.program.model import INPUT, Program


@dataclass(frozen=True)
class Memory:
    """Memory that the C of a program takes: its state, and its constants (weights, packed; one byte
    a delay where a synapse has any, two a bias). The program's own instructions are not counted.
    """

    ram_bytes: int
    flash_bytes: int


def memory_of(program: Program) -> Memory:
    """Count the memory that `network.h` states."""
    layers = layers_of(program)
    structs = [size_of(layer.members) for layer in layers]
    flash = sum(flash_by_layer(program).values())
    if any(synapse.source != INPUT for layer in layers for synapse in layer.synapses):
        flash += 32  # the table of `lowest`
    return Memory(ram_bytes=_state_bytes(program, layers, structs), flash_bytes=flash)


def flash_by_layer(program: Program) -> dict[str, int]:
    """Count the bytes of each layer's constants."""
    return {layer.layer.name: _constant_bytes(layer) for layer in layers_of(program)}


def _constant_bytes(layer: CLayer) -> int:
    used = 2 * len(layer.layer.bias)
    for synapse in layer.distinct:
        packing = layer.packing(synapse)
        if packing:
            sources = synapse.weight.size // layer.channels
            used += 4 * packing.words(layer.channels) * sources
        else:
            used += synapse.weight.size
        used += synapse.weight.size if is_delayed(synapse) else 0
    return used


def _state_bytes(program: Program, layers: list[CLayer], structs: list[int]) -> int:
    used, alignment = 0, 1
    for layer, size in zip(layers, structs, strict=True):
        own = max(member.bytes_each for member in layer.members)
        used = -(-used // own) * own + size
        alignment = max(alignment, own)
    for member in _shared(program, layers):
        used = -(-used // 4) * 4 + 4 * (member.count or 1)
        alignment = 4
    return -(-used // alignment) * alignment


def _shared(program: Program, layers: list[CLayer]) -> list[Member]:
    """List what layers share: the sums of the rows at work, and what to take off them; and the
    counters of a read-out by spikes.
    """
    plain = [layer for layer in layers if not layer.slots]
    found = []
    if plain:
        sums = max(layer.rows * layer.width * layer.sum_words for layer in plain)
        taps = max(layer.rows * layer.width for layer in plain)
        found.append(Member("uint32_t", "sums", sums, "of the positions at work"))
        found.append(Member("uint32_t", "taps", taps, "what the sums have too much"))
    if program.readout == "spikes":
        found.append(Member("int32_t", "counts", program.classes, "spikes of the read-out"))
    return found


def write_c_header(program: Program, path: Path, camera: Camera | None = None) -> None:
    """Write `network.h`: what `network.c` offers, and the memory that both need. The same program
    gives the same bytes.

    With `camera`, both files also hold what makes decisions of a camera's events.
    """
    with writing(path) as beside:
        beside.write_text(_header(program, camera), encoding="ascii", newline="\n")


def write_c(program: Program, path: Path, camera: Camera | None = None) -> None:
    """Write `network.c`: the program's constants, `tmkt_reset`, `tmkt_step` and access to read-out
    and spikes.

    C99 without undefined behaviour, whatever the input's bytes are; all intermediates stay in 32
    bits. The same program gives the same bytes.
    """
    with writing(path) as beside, open(beside, "wb") as file:
        for text in _source(program, camera):
            file.write(text.encode("ascii"))


def _header(program: Program, camera: Camera | None) -> str:
    layers = layers_of(program)
    synapses = [synapse for layer in layers for synapse in layer.distinct]
    memory = memory_of(program)
    state = [
        "    struct {\n"
        + "".join(f"        {member.text}\n" for member in layer.members)
        + f"    }} {layer.name};\n"
        for layer in layers
    ]
    state += [f"    {member.text}\n" for member in _shared(program, layers)]
    readouts = {
        "membrane": "its membrane, in 1/64 of a weight",
        "spikes": "its spikes since the reset",
    }
    channels, height, width = as_map(program.input_shape)
    return templates.HEADER.substitute(
        layers=len(layers),
        neurons=sum(layer.neurons for layer in program.layers),
        weights=sum(synapse.weight.size for synapse in synapses),
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
        events=events_header(program, camera) if camera else "",
    )


# Parts that only some programs need, in the order of the file: each with the call that needs it.
HELPERS = (
    ("kept(", templates.KEPT),
    ("wrapped(", templates.WRAPPED),
    ("clipped(", templates.CLIPPED),
    ("number(", templates.NUMBER),
    ("added(", templates.ADDED),
    ("lower(", templates.LOWER),
    ("upper(", templates.UPPER),
    ("lowest(", templates.LOWEST),
    ("membrane(", templates.MEMBRANE),
    ("clear(", templates.CLEAR.substitute(name="clear", kind="uint32_t")),
    ("clear_late(", templates.CLEAR.substitute(name="clear_late", kind="int32_t")),
)


def _source(program: Program, camera: Camera | None) -> Iterator[str]:
    layers = layers_of(program)
    code: list[str] = []
    step = []
    for layer in layers:
        code += table("int16_t", f"{layer.name}_bias", layer.layer.bias)
        sources = [source_of(program, layers, synapse) for synapse in layer.synapses]
        for i, (synapse, source) in enumerate(zip(layer.synapses, sources, strict=True)):
            if layer.first[i] == i:
                code += synapse_function(layer, source, synapse, f"{layer.name}_{i}")
        code.append(layer_functions(program, layer, sources))
        step.append(layer_call(layer, sources))
    last = layers[-1]
    if program.readout == "spikes":
        step.append(templates.COUNT.substitute(fired=_fired(last)))
    if not any(", input" in line for line in step):
        step.append("    (void)input;\n")
    code += [templates.RESET, templates.STEP.substitute(body="".join(step))]
    value = f"membrane(state->{last.name}.low[n], state->{last.name}.high[n])"
    # Counts are kept in the order of the spikes, as membranes are.
    code.append(
        templates.READOUT.substitute(
            value="state->counts[n]" if program.readout == "spikes" else value,
            positions=last.positions,
            channels=last.channels,
            cases="".join(
                templates.SPIKES.substitute(
                    number=i, neurons=layer.layer.neurons, fired=_fired(layer)
                )
                for i, layer in enumerate(layers)
                if layer.layer.fires
            ),
        )
    )
    if camera:
        code.append(events_source(program, camera))
    yield templates.START
    yield from _helpers(code)
    yield from code


def _helpers(code: list[str]) -> list[str]:
    """Give the helpers that the code calls, and those that these call."""
    needed: list[str] = []
    for call, text in reversed(HELPERS):
        if any(re.search(rf"\b{re.escape(call)}", part) for part in [*needed, *code]):
            needed.insert(0, text)
    return needed


def _fired(layer: CLayer) -> str:
    """Give the C that reads the spike of neuron i."""
    bits = layer.spikes.word_bits
    word = f"i / {layer.channels} * {layer.spikes.words} + i % {layer.channels} / {bits}"
    at = f"(uint32_t)state->{layer.name}.spikes[{word}]"
    return f"({at} >> (i % {layer.channels} % {bits}) & 1u)"
