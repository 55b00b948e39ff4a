"""Writes a program as C99: a header and one file that need no library, no heap and no floating
point. docs/c.md.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tmkt.export.targets import c_templates as templates
from tmkt.export.targets.c_range import check_32_bits
from tmkt.export.targets.shared_weights import first_equal_synapses
from tmkt.files import writing
from tmkt.program.arithmetic import DECAY_ONE
from tmkt.program.model import INPUT, Layer, Program, Synapse, pooled

NUMBERS_A_LINE = 32


@dataclass(frozen=True)
class _Source:
    """Where a synapse reads: the array's C expression, its shape as (channels, height, width), and
    whether the channels come first in it.
    """

    expression: str
    shape: tuple[int, int, int]
    channels_first: bool
    most: int

    def at(self, y: str, x: str) -> str:
        channels, height, width = self.shape
        return (
            f"(c * {height} + {y}) * {width} + {x}"
            if self.channels_first
            else f"({y} * {width} + {x}) * {channels} + c"
        )

    def value(self, at: str) -> str:
        """A spike is 0 or 1; counts come from outside, and may be anything."""
        trusted = not self.channels_first or self.most == 255
        return (
            f"source[{at}]"
            if trusted
            else f"(source[{at}] > {self.most} ? {self.most} : source[{at}])"
        )


class _Neurons:
    """A layer and the names and sizes that its C has. Its neurons are in the order of positions,
    then channels.

    `synapses` leaves out those from the layers that never fire, `silent`; those that do the same
    (`first`) are one function: `distinct`.
    """

    def __init__(self, program: Program, layer: Layer, name: str, silent: set[str]) -> None:
        self.layer, self.name = layer, name
        self.synapses = [synapse for synapse in layer.synapses if synapse.source not in silent]
        self.first = first_equal_synapses(program, replace(layer, synapses=tuple(self.synapses)))
        self.distinct = [synapse for i, synapse in enumerate(self.synapses) if self.first[i] == i]
        self.channels = layer.shape[0]
        self.positions = layer.neurons // self.channels
        back = max((layer.steps_back(synapse) for synapse in self.synapses), default=0)
        self.slots = (
            back + 1 if back else 0
        )  # of the ring of sums that late spikes still add to; 0: the sums of one step do
        self.shift = min(
            (_shift(synapse.weight) for synapse in self.synapses), default=0
        )  # that all of its synapses have in common

    def source(self) -> _Source:
        return _Source(f"state->{self.name}.spikes", _three(self.layer.shape), False, 1)

    def ram(self) -> int:
        """Bytes in the state, a multiple of four as a struct with int32_t has it."""
        words = 1 + (self.layer.current_decay < DECAY_ONE) + self.slots
        return (
            4 * (words * self.layer.neurons + bool(self.slots))
            + -(-self.layer.neurons // 4) * 4 * self.layer.fires
        )


def write_c_header(program: Program, path: Path) -> None:
    """Writes `network.h`: what `network.c` offers, and the memory that both need. The same program
    gives the same bytes.
    """
    with writing(path) as beside:
        beside.write_text(_header(program), encoding="ascii")


def write_c(program: Program, path: Path) -> None:
    """Writes `network.c`: the program's constants, `tmkt_reset`, `tmkt_step` and access to read-out
    and spikes.

    C99 without undefined behaviour, whatever the input's bytes are; all intermediates stay in 32
    bits. InputError for a program whose currents or pools do not. The same program gives the same
    bytes.
    """
    with writing(path) as beside, open(beside, "wb") as file:
        for text in _source(program):
            file.write(text.encode("ascii"))


def _header(program: Program) -> str:
    layers = _layers(program)
    synapses = [synapse for neurons in layers for synapse in neurons.distinct]
    weights = sum(synapse.weight.size for synapse in synapses)
    delays = sum(synapse.weight.size for synapse in synapses if _delayed(synapse))
    scratch, counts = _scratch(layers), program.classes if program.readout == "spikes" else 0
    state = [_members(neurons) for neurons in layers]
    state += [f"    int32_t sums[{scratch}]; /* of the layer at work */\n"] if scratch else []
    state += [f"    int32_t counts[{counts}]; /* spikes of the read-out */\n"] if counts else []
    channels, height, width = program.input_shape
    return templates.HEADER.substitute(
        layers=len(layers),
        neurons=sum(layer.neurons for layer in program.layers),
        weights=weights,
        ram=4 * (scratch + counts) + sum(neurons.ram() for neurons in layers),
        flash=weights + delays + 2 * sum(len(layer.bias) for layer in program.layers),
        channels=channels,
        height=height,
        width=width,
        input_size=channels * height * width,
        max_count=program.max_count,
        classes=program.classes,
        state="".join(state),
        readout=(
            "its membrane, in 1/64 of a weight"
            if program.readout == "membrane"
            else "its spikes since the reset"
        ),
    )


def _members(neurons: _Neurons) -> str:
    layer, n = neurons.layer, neurons.layer.neurons
    lines = [f"int32_t v[{n}];"]
    lines += [f"int32_t u[{n}];"] if layer.current_decay < DECAY_ONE else []
    lines += (
        [
            f"int32_t late[{neurons.slots * n}]; /* sums of the steps to come, a ring */",
            "int32_t now;",
        ]
        if neurons.slots
        else []
    )
    lines += [f"uint8_t spikes[{n}];"] if layer.fires else []
    return (
        "    struct {\n"
        + "".join(f"        {line}\n" for line in lines)
        + f"    }} {neurons.name};\n"
    )


def _source(program: Program) -> Iterator[str]:
    layers = _layers(program)
    by_name = {neurons.layer.name: neurons for neurons in layers}
    yield templates.HELPERS
    body = []
    for neurons in layers:
        check_32_bits(program, neurons.layer)
        now: list[str] = []
        after: list[str] = []
        yield from _table("int16_t", f"{neurons.name}_bias", neurons.layer.bias)
        for i, (synapse, first) in enumerate(zip(neurons.synapses, neurons.first, strict=True)):
            source = (
                _Source("input", program.input_shape, True, program.max_count)
                if synapse.source == INPUT
                else by_name[synapse.source].source()
            )
            if first == i:
                yield from _synapse(neurons, source, synapse, f"{neurons.name}_{i}")
            recurrent = synapse.source == neurons.layer.name
            (after if recurrent else now).append(
                _call(neurons, source, synapse, f"{neurons.name}_{first}", recurrent)
            )
        yield _update(neurons)
        body += _step(neurons, now, after)
    yield templates.RESET
    last = layers[-1]
    counts = program.readout == "spikes"
    body += [templates.COUNT.substitute(name=last.name)] if counts else []
    if not any("(input," in line for line in body):
        body.append("    (void)input;\n")
    yield templates.STEP.substitute(body="".join(body))
    cases = [
        f"    case {i}:\n        return state->{n.name}.spikes;\n"
        for i, n in enumerate(layers)
        if n.layer.fires
    ]
    values = "state->counts" if counts else f"state->{last.name}.v"
    # Counts are kept in the order of the spikes, as membranes are.
    yield templates.READOUT.substitute(
        values=values, positions=last.positions, channels=last.channels, cases="".join(cases)
    )


def _layers(program: Program) -> list[_Neurons]:
    """The layers with names that are C's: unique, and never a keyword or a macro."""
    layers: list[_Neurons] = []
    silent = {layer.name for layer in program.layers if not layer.fires}
    for layer in program.layers:
        name = "layer_" + re.sub("[^A-Za-z0-9]", "_", layer.name)[:40]
        while name in {other.name for other in layers}:
            name += "_"
        layers.append(_Neurons(program, layer, name, silent))
    return layers


def _scratch(layers: list[_Neurons]) -> int:
    """The room for sums that layers without a ring share."""
    return max((neurons.layer.neurons for neurons in layers if not neurons.slots), default=0)


def _step(neurons: _Neurons, now: list[str], after: list[str]) -> list[str]:
    """What tmkt_step does for a layer: its sums, its neurons, and what recurrent synapses send to
    later steps.
    """
    name, n = neurons.name, neurons.layer.neurons
    if not neurons.slots:
        return [
            f"    clear(state->sums, {n});\n",
            *now,
            f"    {name}_update(state, state->sums);\n",
        ]
    here = f"state->{name}.late + state->{name}.now * {n}"
    wrap = (
        f"    state->{name}.now = state->{name}.now + 1 == {neurons.slots} ? 0 : state->{name}.now"
        " + 1;\n"
    )
    return [
        *now,
        f"    {name}_update(state, {here});\n",
        f"    clear({here}, {n});\n",
        wrap,
        *after,
    ]


def _call(
    neurons: _Neurons, source: _Source, synapse: Synapse, function: str, recurrent: bool
) -> str:
    """A recurrent synapse is called when `now` is the next step already, which is where its spikes
    arrive without a delay.
    """
    ring = f"state->{neurons.name}.late"
    if _delayed(synapse):
        return f"    {function}({source.expression}, {ring}, state->{neurons.name}.now);\n"
    sums = (
        f"{ring} + state->{neurons.name}.now * {neurons.layer.neurons}"
        if neurons.slots
        else "state->sums"
    )
    assert neurons.slots or not recurrent
    return f"    {function}({source.expression}, {sums});\n"


def _synapse(neurons: _Neurons, source: _Source, synapse: Synapse, name: str) -> Iterator[str]:
    channels, height, width = _three(pooled(source.shape, synapse.pool))
    mantissa = (synapse.weight >> _shift(synapse.weight)).astype(np.int8)
    factor = 1 << _shift(synapse.weight) - neurons.shift
    common = {
        "name": name,
        "source": (
            "the input"
            if source.channels_first
            else source.expression.removeprefix("state->").removesuffix(".spikes")
        ),
        "height": height,
        "width": width,
        "channels": channels,
        "read": _read(source, synapse.pool, factor),
    }
    if synapse.kind == "conv":
        _, a_group, taps_y, taps_x = mantissa.shape
        by_input = mantissa.reshape(synapse.groups, -1, a_group, taps_y * taps_x).transpose(
            0, 2, 3, 1
        )
        yield from _table("int8_t", f"{name}_weight", by_input)
        outputs = len(mantissa) // synapse.groups
        pairs = {
            "stride": synapse.stride,
            "padding": synapse.padding,
            "dilation": synapse.dilation,
            "taps": (taps_y, taps_x),
        }
        yield templates.CONV.substitute(
            common,
            **{
                f"{key}_{axis}": value
                for key, pair in pairs.items()
                for axis, value in zip("yx", pair, strict=True)
            },
            weights_a_channel=taps_y * taps_x * outputs,
            channels_a_group=a_group,
            outputs_a_group=outputs,
            out_channels=neurons.channels,
            out_height=neurons.layer.shape[1],
            out_width=neurons.layer.shape[2],
        )
        return
    inputs = (channels, height * width)
    yield from _table("int8_t", f"{name}_weight", _by_input(neurons, mantissa, inputs))
    if _delayed(synapse):
        assert synapse.delays is not None
        yield from _table("uint8_t", f"{name}_delay", _by_input(neurons, synapse.delays, inputs))
        yield templates.DELAYED.substitute(
            common, outputs=neurons.layer.neurons, slots=neurons.slots
        )
    else:
        yield templates.DENSE.substitute(common, outputs=neurons.layer.neurons)


def _read(source: _Source, pool: int, factor: int) -> str:
    """Reads the site (y, x, c) of a source, a window's sum where it is pooled."""
    if pool > 1:
        at = source.at(f"(y * {pool} + py)", f"x * {pool} + px")
        return templates.READ_POOL.substitute(pool=pool, read=source.value(at), factor=factor)
    at = source.at("y", "x")
    value = str(factor) if source.most == 1 else f"{source.value(at)} * {factor}"
    return templates.READ.substitute(at=at, value=value)


def _update(neurons: _Neurons) -> str:
    layer, name = neurons.layer, neurons.name
    current = f"sums[n] * {64 << neurons.shift}"
    remembers = layer.current_decay < DECAY_ONE
    if remembers:
        current = f"{_kept(f'state->{name}.u[n]', layer.current_decay)} + {current}"
    return templates.UPDATE.substitute(
        name=name,
        positions=neurons.positions,
        channels=neurons.channels,
        current=current,
        keep_current=f"            state->{name}.u[n] = u;\n" if remembers else "",
        membrane=_kept(f"state->{name}.v[n]", layer.voltage_decay),
        end=(
            templates.FIRE.substitute(name=name, threshold=layer.threshold << 6)
            if layer.fires
            else f"            state->{name}.v[n] = v;\n"
        ),
    )


def _kept(state: str, decay: int) -> str:
    return f"kept({state}, {DECAY_ONE - decay})"


def _delayed(synapse: Synapse) -> bool:
    return synapse.delays is not None and bool(synapse.delays.any())


def _shift(weight: NDArray[np.int16]) -> int:
    """The left shift that makes int8 mantissas the program's weights: those above 127 are even, and
    stored halved.
    """
    return int(np.abs(weight).max(initial=0) > 127)


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(N,) as N channels of one position."""
    channels, height, width = shape if len(shape) == 3 else (shape[0], 1, 1)
    return channels, height, width


def _by_input(
    neurons: _Neurons, values: NDArray[np.generic], inputs: tuple[int, int]
) -> NDArray[np.generic]:
    """A dense synapse's [N_out, N_in], both in the order channels, positions, as [N_in, N_out] in
    the order positions, channels.
    """
    return values.reshape(neurons.channels, neurons.positions, *inputs).transpose(3, 2, 1, 0)


def _table(kind: str, name: str, values: NDArray[np.generic]) -> Iterator[str]:
    """A constant array, which a linker puts into flash."""
    flat = np.ascontiguousarray(values).reshape(-1)
    low = int(flat.min())
    words = np.array([str(i) for i in range(low, int(flat.max()) + 1)], object)
    yield f"\nstatic const {kind} {name}[{flat.size}] = {{\n"
    for begin in range(0, flat.size, NUMBERS_A_LINE):
        yield ",".join(words[flat[begin : begin + NUMBERS_A_LINE].astype(np.int64) - low]) + ",\n"
    yield "};\n"
