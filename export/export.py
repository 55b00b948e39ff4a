"""From a run, or a float network and its program, to a bundle."""

from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.errors import InputError, nearest
from tmkt.events.frames import InputContract
from tmkt.program.lava_form import fits_netx
from tmkt.program.model import Program
from tmkt.program.weight_grid import WeightGrid
from tmkt.runs import MODEL, Run

if TYPE_CHECKING:
    import nir

TARGETS = ("lava", "nir", "onnx", "c")
PRECISIONS = ("integer", "float")


def export_run(
    run: Run,
    out: Path,
    targets: Collection[str],
    bits: int | str | None,
    calibration: NDArray[np.uint8],
    precision: str = "integer",
) -> Bundle:
    """Quantises a run's network and writes a bundle: the program, and a file for each of `targets`
    ("all", or names of TARGETS).

    `bits` as tmkt.program.weight_grid.bits_of reads them; None: the grids that a run was trained on
    (tmkt train --qat), else 8.

    `calibration`: frames uint8 [N, T, 2, H, W] of the run's training recordings, binned by the
    run's contract. Engines need the file of their kind: float network.nir, onnx network.onnx, lava
    loihi.net, c network.c and network.h. A network with branches gets no loihi.net, which holds
    chains only: the engine lava builds its graph from the program. The target nir also writes
    integers.nir, the program as NIR, where that has a form for it. With the precision "float", the
    target onnx also writes the float network, network-float.onnx, which no engine needs. InputError
    for a network that does not become integers and where a package of the extra `export` is
    missing. The same run gives the same bytes.
    """
    _check_targets(targets, precision)
    try:
        from tmkt.export.quantise.quantise import quantise
        from tmkt.nir.from_network import network_to_nir
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    data = run.recipe.data
    if data.frames == "float":
        found = "trained on interpolated frames (data.frames = 'float')"
        raise InputError(
            f"{run.path}: {found}, expected counts: what a sensor gives and a chip takes; train"
            " again with --set data.frames=counts"
        )
    contract = InputContract(tuple(run.info["sensor"]), data.bins, data.bin_us, data.max_count)
    graph = network_to_nir(run.load_network())
    grids = None
    if bits is None and run.info.get("quantisation"):
        grids = {name: WeightGrid(**layer) for name, layer in run.info["quantisation"].items()}
    labels = run.load_calibration_labels()
    labels = labels if labels is not None and len(labels) == len(calibration) else None
    program, report = quantise(
        graph,
        contract.shape,
        contract.max_count,
        calibration,
        8 if bits is None else bits,
        grids,
        labels,
    )
    origin: dict[str, Any] = {
        "dataset": data.name,
        "recipe": run.recipe.model_dump(),
        "trained_on": list(run.info["trained_on"]),
        "images_trained_on": dict(run.info["images_trained_on"]),
        "model_sha256": bundles.sha256(run.path / MODEL),
    }
    classes = [str(name) for name in run.info["classes"]]
    return write_bundle(out, targets, precision, graph, program, contract, classes, origin, report)


def write_bundle(
    out: Path,
    targets: Collection[str],
    precision: str,
    graph: "nir.NIRGraph",
    program: Program,
    contract: InputContract,
    classes: list[str],
    origin: dict[str, Any],
    report: list[dict[str, Any]],
) -> Bundle:
    """Writes a bundle of a program and of the float network that it was made from, in this
    project's form (`normalise`).
    """
    _check_targets(targets, precision)
    try:
        from tmkt.export.targets.c import write_c, write_c_header
        from tmkt.export.targets.lava import write_lava
        from tmkt.export.targets.nir import write_nir
        from tmkt.export.targets.onnx import write_onnx
        from tmkt.export.targets.onnx_float import write_onnx_float
        from tmkt.export.targets.program_nir import program_to_nir
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    writers: dict[str, dict[str, Callable[[Path], None]]] = {
        "lava": {bundles.LAVA: lambda path: write_lava(program, path)},
        "nir": {bundles.NIR: lambda path: write_nir(graph, path)},
        "onnx": {bundles.ONNX: lambda path: write_onnx(program, path, classes)},
        "c": {
            bundles.C_SOURCE: lambda path: write_c(program, path),
            bundles.C_HEADER: lambda path: write_c_header(program, path),
        },
    }
    with suppress(
        InputError
    ):  # NIR has no form for some programs; nothing but other programs reads the file
        integers = program_to_nir(program)
        writers["nir"][bundles.NIR_INTEGERS] = lambda path: write_nir(integers, path)
    if precision == "float":
        writers["onnx"][bundles.ONNX_FLOAT] = lambda path: write_onnx_float(graph, path, classes)
    wanted = TARGETS if "all" in targets else [target for target in TARGETS if target in targets]
    if not fits_netx(program):  # Lava runs it all the same: the engine builds it from the program
        del writers["lava"][bundles.LAVA]
    files = {name: write for target in wanted for name, write in writers[target].items()}
    return bundles.write(out, program, contract, classes, origin, report, files)


def _check_targets(targets: Collection[str], precision: str) -> None:
    if precision not in PRECISIONS:
        raise InputError(
            f"precision {precision!r}: unknown, known are"
            f" {', '.join(PRECISIONS)}{nearest(precision, list(PRECISIONS))}"
        )
    unknown = [target for target in targets if target not in (*TARGETS, "all")]
    if unknown:
        known = ["all", *TARGETS]
        raise InputError(
            f"target {unknown[0]!r}: unknown, known are"
            f" {', '.join(known)}{nearest(unknown[0], known)}"
        )


def _missing(error: ModuleNotFoundError) -> InputError:
    return InputError(
        f"the package {error.name} is not installed, and exporting needs it; install it with: pip"
        " install 'tmkt[export]'"
    )
