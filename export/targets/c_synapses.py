"""The C of a synapse: its tables of weights and delays, and the function that adds its spikes.

A function is three parts: the loops over the positions of the source (`templates.CONV`, `DENSE`),
the loop over what one position sends (`BITS`, `COUNTS`), and what is done with each of it.
"""

from collections.abc import Iterator
from textwrap import dedent, indent

import numpy as np
from numpy.typing import NDArray

from tmkt.export.targets import c_synapse_templates as templates
from tmkt.export.targets.c_layers import CLayer, SourceArray, as_map, is_delayed
from tmkt.export.targets.c_weights import Packing, mantissas
from tmkt.program.model import Synapse, pooled

NUMBERS_A_LINE = 16


def synapse_function(
    layer: CLayer, source: SourceArray, synapse: Synapse, name: str
) -> Iterator[str]:
    """Give the tables of a synapse and its function `name`, which adds what the source sends to
    the sums of the layer.
    """
    packing = layer.packing(synapse)
    values = by_source(layer, source, synapse, mantissas(synapse.weight))
    settings = {**_settings(layer, source, synapse), "name": name}
    if packing:
        settings |= _packed_settings(layer, source, synapse, packing)
        yield from table("uint32_t", f"{name}_weight", packing.pack(values))
        yield templates.ADD.substitute(
            settings, lines=_passes(packing, layer.channels, settings["times"])
        )
    else:
        yield from table("int8_t", f"{name}_weight", values)
    if is_delayed(synapse):
        assert synapse.delays is not None
        delays = by_source(layer, source, synapse, synapse.delays.astype(np.int64))
        yield from table("uint8_t", f"{name}_delay", delays)
    deliver = _deliver(synapse, settings, packing is not None)
    sites = _sites(source, synapse, settings, deliver)
    whole = templates.CONV if synapse.kind == "conv" else templates.DENSE
    yield whole.substitute(settings, sites=sites)


def by_source(
    layer: CLayer, source: SourceArray, synapse: Synapse, values: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Give weights or delays with the outputs last, in the order in which a source meets them:
    [taps, channels, outputs of the group] of a convolution, [positions, channels, outputs] of a
    dense synapse, its outputs in the order of positions, then channels.
    """
    if synapse.kind == "conv":
        taps = values.shape[2] * values.shape[3]
        groups = values.reshape(synapse.groups, -1, values.shape[1], taps)
        return groups.transpose(3, 0, 2, 1).reshape(taps * source.shape[0], -1)
    channels, height, width = as_map(pooled(source.shape, synapse.pool))
    inputs = (channels, height * width)
    outputs = values.reshape(layer.channels, layer.positions, *inputs)
    return outputs.transpose(3, 2, 1, 0).reshape(inputs[0] * inputs[1], -1)


def _settings(layer: CLayer, source: SourceArray, synapse: Synapse) -> dict[str, object]:
    channels, height, width = as_map(pooled(source.shape, synapse.pool))
    factor = layer.factor(synapse)
    found: dict[str, object] = {
        "source": source.name,
        "kind": source.kind,
        "words": source.words,
        "channels": channels,
        "height": height,
        "width": width,
        "source_height": source.shape[1],
        "source_width": source.shape[2],
        "most": source.most,
        "pool": synapse.pool,
        "factor": factor,
        "value": "value" if source.is_input else str(factor),
        "sum": "int32_t" if layer.slots else "uint32_t",
        "slots": layer.slots,
        "outputs": layer.layer.neurons,
        "positions": layer.positions,
        "out_channels": layer.channels,
        "to": layer.channels if layer.slots else layer.sum_words,
        "more": ", int32_t now" if is_delayed(synapse) else "",
    }
    if synapse.kind == "conv":
        pairs = {
            "stride": synapse.stride,
            "padding": synapse.padding,
            "dilation": synapse.dilation,
            "taps": synapse.weight.shape[2:],
        }
        for key, pair in pairs.items():
            found |= {f"{key}_{axis}": n for axis, n in zip("yx", pair, strict=True)}
        found |= {
            "out_width": layer.width,
            "channels_a_group": synapse.weight.shape[1],
            "outputs_a_group": len(synapse.weight) // synapse.groups,
        }
    found["put"] = _put(layer, str(found["value"]))
    return found


def _packed_settings(
    layer: CLayer, source: SourceArray, synapse: Synapse, packing: Packing
) -> dict[str, object]:
    counts = source.is_input and source.most * synapse.pool**2 > 1
    multiplied = counts or layer.factor(synapse) > 1
    value = "(uint32_t)value" if source.is_input else f"{layer.factor(synapse)}u"
    return {
        "row": packing.words(layer.channels),
        "half": f"{packing.half:#010x}u" + (f" * {value}" if multiplied else ""),
        "times": " * value" if multiplied else "",
        "value_parameter": ", uint32_t value" if multiplied else "",
        "value_argument": f", {value}" if multiplied else "",
        "more": ", uint32_t *restrict taps",
    }


def _passes(packing: Packing, outputs: int, times: object) -> str:
    row = packing.words(outputs)
    lines = []
    for i in range(packing.passes):
        word = f"(word >> {packing.bits * i})" if i else "word"
        at = f"{i * row} + i" if i else "i"
        lines.append(f"        to[{at}] += ({word} & {packing.mask:#010x}u){times};\n")
    return "".join(lines)


def _put(layer: CLayer, value: str) -> str:
    """Give the C that adds a weight to the sum of output `first + o` of a position."""
    product = f"weight[o] * {value}"
    if layer.slots:
        return f"to[first + o] += {product}"
    if layer.pairs:
        return f"to[(first + o) / 2] += (uint32_t)({product}) << ((first + o) % 2 * 16)"
    return f"to[first + o] += (uint32_t)({product})"


def _deliver(synapse: Synapse, settings: dict[str, object], packed: bool) -> str:
    """Give what is done with one spike or count."""
    if synapse.kind == "conv":
        tap = templates.PACKED_TAP if packed else templates.TAP
        return templates.COLUMNS.substitute(settings, tap=tap.substitute(settings))
    if packed:
        return templates.PACKED_OUTPUTS.substitute(settings)
    return (templates.LATER if is_delayed(synapse) else templates.OUTPUTS).substitute(settings)


def _sites(source: SourceArray, synapse: Synapse, settings: dict[str, object], deliver: str) -> str:
    if source.is_input:
        deliver = indent(dedent(deliver), " " * 16)
        read = templates.READ_POOL if synapse.pool > 1 else templates.READ
        if settings.get("times") == "":
            read = templates.READ_ONE
        return templates.COUNTS.substitute(
            settings, read=read.substitute(settings, count=_count(source)), deliver=deliver
        )
    if synapse.pool == 1:
        return templates.BITS.substitute(settings, deliver=deliver)
    return templates.POOLED_BITS.substitute(settings, deliver=indent(deliver, "    "))


def _count(source: SourceArray) -> str:
    """Give the C of a count at `at`: it comes from outside, and may be anything."""
    if source.most == 255:
        return "source[at]"
    return f"(source[at] > {source.most} ? {source.most} : source[at])"


def table(kind: str, name: str, values: NDArray[np.generic]) -> Iterator[str]:
    """Give a constant array, which a linker puts into flash."""
    flat = np.ascontiguousarray(values).reshape(-1)
    end = "u" if kind == "uint32_t" else ""
    yield f"\nstatic const {kind} {name}[{flat.size}] = {{\n"
    for begin in range(0, flat.size, NUMBERS_A_LINE):
        numbers = flat[begin : begin + NUMBERS_A_LINE].tolist()
        yield "".join(f"{number}{end}," for number in numbers) + "\n"
    yield "};\n"
