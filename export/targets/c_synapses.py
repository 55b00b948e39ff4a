"""The C of a synapse: its tables of weights and delays, and the function that adds its spikes."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tmkt.export.targets import c_templates as templates
from tmkt.export.targets.c_layers import CLayer, SourceArray, as_map, is_delayed, weight_shift
from tmkt.program.model import Synapse, pooled

NUMBERS_A_LINE = 32


def synapse_function(
    layer: CLayer, source: SourceArray, synapse: Synapse, name: str
) -> Iterator[str]:
    """Give the tables of a synapse and its function `name`, which adds what the source sends to
    the sums of the layer.
    """
    channels, height, width = as_map(pooled(source.shape, synapse.pool))
    shift = weight_shift(synapse.weight)
    mantissa = (synapse.weight >> shift).astype(np.int8)
    source_name = source.expression.removeprefix("state->").removesuffix(".spikes")
    common = {
        "name": name,
        "source": "the input" if source.channels_first else source_name,
        "height": height,
        "width": width,
        "channels": channels,
        "read": _read(source, synapse.pool, factor=1 << (shift - layer.shift)),
    }
    if synapse.kind == "conv":
        yield from _convolution(layer, synapse, mantissa, common)
        return
    inputs = (channels, height * width)
    yield from table("int8_t", f"{name}_weight", _input_major(layer, mantissa, inputs))
    if is_delayed(synapse):
        assert synapse.delays is not None
        delays = _input_major(layer, synapse.delays, inputs)
        yield from table("uint8_t", f"{name}_delay", delays)
        yield templates.DELAYED.substitute(common, outputs=layer.layer.neurons, slots=layer.slots)
    else:
        yield templates.DENSE.substitute(common, outputs=layer.layer.neurons)


def _convolution(
    layer: CLayer, synapse: Synapse, mantissa: NDArray[np.int8], common: dict[str, object]
) -> Iterator[str]:
    _, channels_a_group, taps_y, taps_x = mantissa.shape
    outputs = len(mantissa) // synapse.groups
    by_input = mantissa.reshape(synapse.groups, outputs, channels_a_group, taps_y * taps_x)
    yield from table("int8_t", f"{common['name']}_weight", by_input.transpose(0, 2, 3, 1))
    pairs = {
        "stride": synapse.stride,
        "padding": synapse.padding,
        "dilation": synapse.dilation,
        "taps": (taps_y, taps_x),
    }
    by_axis = {
        f"{key}_{axis}": value
        for key, pair in pairs.items()
        for axis, value in zip("yx", pair, strict=True)
    }
    yield templates.CONV.substitute(
        common,
        **by_axis,
        weights_a_channel=taps_y * taps_x * outputs,
        channels_a_group=channels_a_group,
        outputs_a_group=outputs,
        out_channels=layer.channels,
        out_height=layer.layer.shape[1],
        out_width=layer.layer.shape[2],
    )


def _read(source: SourceArray, pool: int, factor: int) -> str:
    """Give the C that reads the site (y, x, c) of a source, a window's sum where it is pooled."""
    if pool > 1:
        index = source.index(f"(y * {pool} + py)", f"x * {pool} + px")
        return templates.READ_POOL.substitute(pool=pool, read=source.value(index), factor=factor)
    index = source.index("y", "x")
    value = str(factor) if source.most == 1 else f"{source.value(index)} * {factor}"
    return templates.READ.substitute(at=index, value=value)


def _input_major(
    layer: CLayer, values: NDArray[np.generic], inputs: tuple[int, int]
) -> NDArray[np.generic]:
    """Give a dense synapse's [N_out, N_in], both in the order channels, positions, as [N_in, N_out]
    in the order positions, channels.
    """
    return values.reshape(layer.channels, layer.positions, *inputs).transpose(3, 2, 1, 0)


def table(kind: str, name: str, values: NDArray[np.generic]) -> Iterator[str]:
    """Give a constant array, which a linker puts into flash."""
    flat = np.ascontiguousarray(values).reshape(-1)
    low = int(flat.min())
    words = np.array([str(i) for i in range(low, int(flat.max()) + 1)], object)
    yield f"\nstatic const {kind} {name}[{flat.size}] = {{\n"
    for begin in range(0, flat.size, NUMBERS_A_LINE):
        yield ",".join(words[flat[begin : begin + NUMBERS_A_LINE].astype(np.int64) - low]) + ",\n"
    yield "};\n"
