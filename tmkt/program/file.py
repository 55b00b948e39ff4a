"""Reading and writing `program.safetensors`; docs/program.md specifies the file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError, cannot_read
from tmkt.program.model import Layer, Program, Synapse

FORMAT_VERSION = 2  # 1 had inputs (C, H, W) alone, and is written wherever it suffices
LAYER_KEYS = ("name", "shape", "threshold", "voltage_decay", "current_decay", "fires", "scale")
SYNAPSE_KEYS = ("source", "kind", "stride", "padding", "dilation", "groups", "pool")


def save(program: Program, path: Path) -> None:
    """Write a program: the tensors, and the graph as JSON in the header under "program"."""
    from safetensors.numpy import save as to_bytes

    tensors: dict[str, NDArray[Any]] = {}
    layers = []
    for layer in program.layers:
        tensors[f"{layer.name}/bias"] = np.ascontiguousarray(layer.bias, np.int32)
        entries = []
        for i, synapse in enumerate(layer.synapses):
            tensors[f"{layer.name}/{i}/weight"] = np.ascontiguousarray(synapse.weight, np.int16)
            entries.append({key: getattr(synapse, key) for key in SYNAPSE_KEYS})
            if synapse.delays is not None:
                tensors[f"{layer.name}/{i}/delays"] = np.ascontiguousarray(synapse.delays, np.uint8)
                entries[-1]["delays"] = True
        layers.append({**{key: getattr(layer, key) for key in LAYER_KEYS}, "synapses": entries})
    graph = {
        "version": 1 if len(program.input_shape) == 3 else FORMAT_VERSION,
        "input_shape": program.input_shape,
        "max_count": program.max_count,
        "readout": program.readout,
        "layers": layers,
    }
    # not save_file: safetensors has an error of its own for a full disk
    path.write_bytes(to_bytes(tensors, metadata={"program": json.dumps(graph)}))


def load(path: Path) -> Program:
    """Read and check a program. Raises InputError for a missing, damaged or newer file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; export the network again") from None
    except OSError as error:
        raise cannot_read(path, error) from None
    return from_bytes(content, path)


def from_bytes(content: bytes, path: Path) -> Program:
    """Check a program whose file was read. InputError, which names `path`, if it is damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as tensors_of

    try:
        tensors = tensors_of(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        graph = json.loads(header["__metadata__"]["program"])
        _check_version(graph["version"], path)
        layers = tuple(_layer(tensors, entry) for entry in graph["layers"])
        return Program(tuple(graph["input_shape"]), graph["max_count"], layers, graph["readout"])
    except (
        SafetensorError,
        OSError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
    ) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path}: not a readable program ({type(error).__name__}: {str(error)[:100]}); export the"
        " network again"
    )


def _check_version(version: Any, path: Path) -> None:
    if version > FORMAT_VERSION:
        raise InputError(
            f"{path}: program format {version}, this tmkt reads up to {FORMAT_VERSION}; update tmkt"
        )
    if type(version) is not int or version < 1:
        raise ValueError(f"version {version}")


def _layer(tensors: dict[str, NDArray[Any]], entry: dict[str, Any]) -> Layer:
    settings = dict(entry)
    synapses = []
    for i, s in enumerate(settings.pop("synapses")):
        at = f"{entry['name']}/{i}"
        delays = tensors[f"{at}/delays"] if s.pop("delays", False) else None
        weight = tensors[f"{at}/weight"]
        synapses.append(Synapse(**_tuples(s), weight=weight, delays=delays))
    bias = tensors[f"{entry['name']}/bias"]
    return Layer(**_tuples(settings), synapses=tuple(synapses), bias=bias)


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
