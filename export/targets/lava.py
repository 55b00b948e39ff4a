"""The target lava: a program as the HDF5 file that Lava's netx reads (lava-dl 0.6.0,
lava/lib/dl/netx/hdf5.py), written with h5py alone.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tmkt.errors import InputError
from tmkt.files import writing
from tmkt.program.arithmetic import MAX_THRESHOLD
from tmkt.program.lava_form import unroll
from tmkt.program.model import INPUT, Layer, Program, Synapse


def write_lava(program: Program, path: Path) -> None:
    """Write `loihi.net`: an input shape, then one convolution or dense layer each, pools unrolled
    into their weights.

    netx runs chains only: InputError for a layer that reads anything but the layer before it,
    through one synapse, and for what netx cannot load. A dense layer may have delays, or read
    itself as well (`dense_rec`); not both, as netx would give both synapses the same delays and
    lose their exponent (lava-dl 0.6.0, lava/lib/dl/netx/blocks/process.py). Sums of event counts
    above 1 need `input_message_bits=8` when it is loaded. The same program gives the same bytes.
    """
    entries: list[dict[str, Any]] = [{"type": b"input", "shape": np.array(program.input_shape)}]
    source = INPUT
    flat = len(program.input_shape) == 1
    for layer in program.layers:
        synapse, recurrent = _synapses(layer, source)
        if not synapse.weight.any() and not (recurrent and recurrent.weight.any()):
            raise InputError(
                f"layer {layer.name!r}: all weights are 0, which Lava's loader cannot read,"
                " expected at least one other; train again"
            )
        if synapse.kind == "dense" and not flat:
            entries.append({"type": b"flatten"})
            flat = True
        entry = _entry(layer, unroll(synapse, program.shape_of(source), layer.shape))
        if recurrent:
            entry |= {"type": b"dense_rec", "weight_rec": recurrent.weight.astype(np.int32)}
        entries.append(entry)
        source = layer.name
    content = BytesIO()  # h5py may end the process where the disk is full
    with h5py.File(content, "w") as file:
        for i, entry in enumerate(entries):
            _fill(file.create_group(f"layer/{i}"), entry)
    with writing(path) as beside:
        beside.write_bytes(content.getvalue())


def _synapses(layer: Layer, source: str) -> tuple[Synapse, Synapse | None]:
    """Give the layer's synapse from the layer before, and the one from itself if it has one."""
    way_out = "export without --target lava"
    found = [synapse.source for synapse in layer.synapses]
    if found == [source]:
        return layer.synapses[0], None
    if sorted(found) != sorted([source, layer.name]):
        raise InputError(
            f"layer {layer.name!r}: reads {found}, expected {source!r} alone or with itself, as"
            f" Lava's netx runs chains only; {way_out}"
        )
    synapse, recurrent = sorted(layer.synapses, key=lambda synapse: synapse.source == layer.name)
    if synapse.kind != "dense" or recurrent.pool > 1:
        raise InputError(
            f"layer {layer.name!r}: a convolution or a pool beside a recurrent synapse, expected"
            f" dense ones for Lava's netx; {way_out}"
        )
    if synapse.delays is not None or recurrent.delays is not None:
        raise InputError(
            f"layer {layer.name!r}: delays and a recurrent synapse, expected one of them for Lava's"
            f" netx; {way_out}"
        )
    return synapse, recurrent


def _entry(layer: Layer, synapse: Synapse) -> dict[str, Any]:
    neuron = {
        "type": b"CUBA",
        "iDecay": layer.current_decay,
        "vDecay": layer.voltage_decay,
        "vThMant": layer.threshold if layer.fires else MAX_THRESHOLD,
    }
    entry = {
        "type": synapse.kind.encode(),
        "shape": np.array(layer.shape),
        "weight": synapse.weight.astype(np.int32),
        "bias": layer.bias,
        "neuron": neuron,
    }
    if synapse.kind == "conv":
        pairs = {
            name: np.array(getattr(synapse, name)) for name in ("stride", "padding", "dilation")
        }
        return {**entry, **pairs, "groups": synapse.groups}
    if len(layer.shape) == 3:
        raise InputError(
            f"layer {layer.name!r}: a dense layer of shape {layer.shape}, expected (N,) for Lava;"
            " flatten it"
        )
    return entry if synapse.delays is None else {**entry, "delay": synapse.delays.astype(np.int32)}


def _fill(group: Any, entry: dict[str, Any]) -> None:
    for name, value in entry.items():
        if isinstance(value, dict):
            _fill(group.create_group(name), value)
        elif isinstance(value, bytes):
            group.create_dataset(name, data=np.array([value], "S10"))
        elif isinstance(value, int):
            group.create_dataset(name, data=value)
        else:
            group.create_dataset(
                name, data=value, compression="gzip" if value.size > 1000 else None
            )
