"""Files of recorded spikes and membranes: NIRData (nir 1.0.8, `nir.write_data`) and `.npz`.

NIRData holds, for each node of a graph, observables by name: `TimeGriddedData` [N, T, neurons], or
`EventData`, a list of spikes a sample. Here they are `spikes` and `v`, of nodes named as the
program's layers and `input`. In `.npz` the same arrays are called `spikes/<layer>` and `v/<layer>`.
It is read and written by h5py, without the package nir.
"""

from functools import partial
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.recorded.types import ALIASES, MEMBRANE, SPIKES, Recorded
from tmkt.errors import InputError
from tmkt.files import writing
from tmkt.program.model import INPUT
from tmkt.readers.hdf5 import import_h5py
from tmkt.readers.hdf5_arrays import opened_hdf5
from tmkt.readers.numpy_files import read_npz

MAX_BYTES = 2**31  # of all arrays of a file when unpacked; ours
GRIDDED, EVENTS = "TimeGriddedData", ("EventData", "ValuedEventData")
GRAPH = "NIRGraphData"
NPZ = ".npz"


def write_recorded(recorded: Recorded, path: Path, dt_s: float) -> None:
    """Write a file: `.npz`, or NIRData under any other name. `dt_s`: a time step in seconds.

    The same arrays give the same bytes.
    """
    content = BytesIO()  # h5py may end the process where the disk is full
    if path.suffix == NPZ:
        arrays: dict[str, Any] = {f"{what}/{of}": values for of, what, values in recorded.arrays}
        np.savez_compressed(content, **arrays)
    else:
        h5py = import_h5py(str(path))
        with h5py.File(content, "w") as file:
            file.attrs["__type__"] = GRAPH
            for layer, what, values in recorded.arrays:
                node = file.require_group(f"nodes/{layer}")
                node.attrs["__type__"] = "NIRNodeData"
                group = node.create_group(f"observables/{what}")
                group.attrs["__type__"], group.attrs["dt"] = GRIDDED, dt_s
                binary = what == SPIKES and values.max(initial=0) <= 1
                data = values.astype(np.bool_ if binary else values.dtype)
                group.create_dataset("data", data=data, compression="gzip")
    with writing(path) as beside:
        beside.write_bytes(content.getvalue())


def read_recorded(path: Path, dt_s: float) -> Recorded:
    """Read a file that anyone wrote. `dt_s`: the time step of lists of spikes, where no other array
    of the file says it.

    Raises InputError for a file that is damaged, holds something else or unpacks to more than
    MAX_BYTES.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected recorded spikes; check --against")
    found = _of_npz(path) if path.suffix == NPZ else _of_nir(path, dt_s)
    recorded = Recorded()
    for (layer, observable), values in found.items():
        what = next((name for name, known in ALIASES.items() if observable in known), None)
        if what == SPIKES:
            recorded.spikes[layer] = _spikes(path, layer, values)
        elif what == MEMBRANE:
            recorded.membranes[layer] = _membranes(path, layer, values)
    if not recorded.arrays:
        names = ", ".join("/".join(key) for key in found)[:100]
        raise _refused(path, f"holds {names or 'nothing'}", "spikes or v of the layers")
    samples = {len(values) for _, _, values in recorded.arrays}
    if len(samples) > 1:
        raise _refused(path, f"{sorted(samples)} samples", "as many in every layer")
    return recorded


def _spikes(path: Path, layer: str, values: NDArray[Any]) -> NDArray[np.uint8]:
    values = _three_axes(path, layer, values)
    most = 255 if layer == INPUT else 1
    whole = values.dtype.kind in "uib" or bool(np.all(values == np.rint(values)))
    if not whole or (values.size and not 0 <= values.min() <= values.max() <= most):
        raise _refused(
            path, f"spikes of {layer} other than 0..{most}", "counts of spikes in a step"
        )
    return values.astype(np.uint8)


def _membranes(path: Path, layer: str, values: NDArray[Any]) -> NDArray[np.int64]:
    values = _three_axes(path, layer, values)
    finite = values.dtype.kind in "uib" or bool(np.all(np.abs(values) < 2**53))  # false for NaN
    if not finite or not np.all(values == np.rint(values)):
        found = f"membranes of {layer} that are not whole"
        raise _refused(path, found, "integers, in 1/64 of a weight")
    return values.astype(np.int64)


def _three_axes(path: Path, layer: str, values: NDArray[Any]) -> NDArray[Any]:
    if values.ndim < 3 or values.dtype.kind not in "uibf":
        found = f"{layer} {values.dtype} {values.shape}"
        raise _refused(path, found, "numbers [samples, steps, neurons]")
    return values.reshape(*values.shape[:2], prod(values.shape[2:]))


def _of_npz(path: Path) -> dict[tuple[str, str], NDArray[Any]]:
    found = {}
    for name, values in read_npz(path, MAX_BYTES).items():
        what, _, layer = name.partition("/")
        if layer:
            found[layer, what] = values
    return found


def _of_nir(path: Path, dt_s: float) -> dict[tuple[str, str], NDArray[Any]]:
    damaged = partial(_refused, path, expected="NIRData")
    with opened_hdf5(path, MAX_BYTES, damaged) as (_, file):
        if file.attrs.get("__type__") != GRAPH:
            raise _refused(path, "no NIRGraphData", "what nir.write_data writes, or .npz")
        groups = dict(_observables(file, ""))
        steps = [float(group.attrs["dt"]) for group in groups.values() if "dt" in group.attrs]
        dt_s = steps[0] if steps else dt_s
        if not 0 < dt_s < np.inf:
            raise _refused(path, f"a time step of {dt_s} s", "one above 0")
        return {
            key: group["data"][()]
            if group.attrs["__type__"] == GRIDDED
            else _grid(path, key[0], group, dt_s)
            for key, group in groups.items()
        }


def _observables(group: Any, within: str) -> list[tuple[tuple[str, str], Any]]:
    """List (layer, observable) and group of a graph's nodes; inner graphs' are "outer.inner"."""
    found: list[tuple[tuple[str, str], Any]] = []
    for name, node in group["nodes"].items():
        if "nodes" in node:
            found += _observables(node, f"{within}{name}.")
            continue
        for what, observable in node["observables"].items():
            found.append(((f"{within}{name}", what), observable))
    return found


def _grid(path: Path, layer: str, group: Any, dt_s: float) -> NDArray[np.uint8]:
    """Put a list of spikes on a grid of time steps; an index of -1 is none."""
    if group.attrs["__type__"] not in EVENTS:
        raise _refused(path, f"{group.attrs['__type__']} of {layer}", f"{GRIDDED} or {EVENTS[0]}")
    idx, time = group["idx"][()], group["time"][()]
    neurons, duration = int(group.attrs["n_neurons"]), float(group.attrs["t_max"])
    steps = round(duration / dt_s) if 0 <= duration / dt_s < 2**31 else -1
    if idx.ndim != 2 or idx.shape != time.shape or min(neurons, steps) < 0:
        found = f"{layer}: idx {idx.shape}, time {time.shape}, {neurons} neurons, {duration} s"
        raise _refused(path, found, "a list of spikes a sample")
    if len(idx) * steps * neurons > MAX_BYTES:
        found = f"{layer}: {len(idx)} samples of {steps} steps and {neurons} neurons"
        raise _refused(path, found, f"at most {MAX_BYTES} values")
    sample, at = np.nonzero((idx >= 0) & np.isfinite(time))
    neuron = idx[sample, at].astype(np.int64)
    # A stamp at a step's start, as 3 * 1e-4, may lie a rounding before it.
    step = np.floor(time[sample, at] / dt_s + 1e-6).astype(np.int64)
    inside = (step >= 0) & (step < steps) & (neuron < neurons)
    if not inside.all():
        found = f"{layer}: {np.count_nonzero(~inside)} spikes outside of t_max or n_neurons"
        raise _refused(path, found, "spikes within them")
    grid = np.zeros((len(idx), steps, neurons), np.uint8)
    np.add.at(grid, (sample, step, neuron), 1)
    return grid


def _refused(path: Path, found: str, expected: str) -> InputError:
    return InputError(f"{path}: {found}, expected {expected}; record it again (docs/parity.md)")
