"""Export a trained network: from a run, or a float network and its program, to a bundle."""

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.datasets.decoded import contract_of
from tmkt.errors import InputError, nearest
from tmkt.events.channels import Contract
from tmkt.events.frames import InputContract
from tmkt.install import pip_install
from tmkt.program.lava_form import fits_netx
from tmkt.program.model import INPUT, Program
from tmkt.program.weight_grid import WeightGrid
from tmkt.runs import MODEL, Run

if TYPE_CHECKING:
    import nir

TARGETS = ("lava", "nir", "onnx", "c")
Writer = Callable[[Path], None]


@dataclass(frozen=True)
class QuantisedNetwork:
    """An integer program, the float network that it was made from, and what a bundle says of both.

    `graph`: the float network in this project's form (`normalise`). `origin` and `report`: the
    manifest's `origin` and `quantisation`. `nothing`: the class of noise, None without one.
    """

    graph: "nir.NIRGraph"
    program: Program
    contract: Contract
    classes: list[str]
    origin: dict[str, Any]
    report: list[dict[str, Any]]
    nothing: int | None = None


def export_run(
    run: Run,
    out: Path,
    targets: Collection[str],
    bits: int | str | None,
    calibration: NDArray[np.uint8],
    allow_silent: bool = False,
) -> Bundle:
    """Quantise a run's network and write a bundle: the program, and the files of `targets`
    ("all", or names of TARGETS).

    `bits` as tmkt.program.weight_grid.bits_of reads them; None: the grids that a run was trained on
    (tmkt train --qat), else 8. `calibration`: frames uint8 [N, T, 2, H, W] of the run's training
    recordings, binned by the run's contract.

    Engines need the files of their target: lava loihi.net, nir network.nir, onnx network.onnx and
    network-float.onnx, c network.c and network.h. A file is left out where its format has no form
    for the network: loihi.net holds chains of layers only (the engine lava builds the others from
    the program), network-float.onnx no currents, delays or loops (the engine float runs
    network.nir), integers.nir no delays by synapse.

    InputError for a network that does not become integers, for one that is dead from its first
    layer on unless `allow_silent`, and where a package of the extra `export` is missing. The same
    run gives the same bytes.
    """
    _check_targets(targets)
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
    contract = contract_of(data, tuple(run.info["sensor"]))
    graph = network_to_nir(run.load_network())
    grids = None
    if bits is None and run.info.get("quantisation"):
        grids = {name: WeightGrid(**layer) for name, layer in run.info["quantisation"].items()}
    labels = run.load_calibration_labels()
    program, report = quantise(
        graph,
        contract.shape,
        contract.max_count,
        calibration,
        bits=8 if bits is None else bits,
        grids=grids,
        labels=labels if labels is not None and len(labels) == len(calibration) else None,
    )
    origin: dict[str, Any] = {
        "dataset": data.name,
        "recipe": run.recipe.model_dump(),
        "trained_on": list(run.info["trained_on"]),
        "images_trained_on": dict(run.info["images_trained_on"]),
        **{
            key: run.info[key]
            for key in ("validated_on", "frames_seen")
            if "frames_seen" in run.info
        },
        "model_sha256": bundles.sha256(run.path / MODEL),
    }
    classes = [str(name) for name in run.info["classes"]]
    network = QuantisedNetwork(
        graph,
        program,
        contract=contract,
        classes=classes,
        origin=origin,
        report=report,
        nothing=run.info.get("nothing"),
    )
    if not allow_silent:
        refuse_silent(network, run.path)
    return write_bundle(out, targets, network)


def refuse_silent(network: QuantisedNetwork, source: Path) -> None:
    """Raise InputError for a network of which nothing that reads the input fires on the calibration
    recordings: its answers do not depend on them.
    """
    entries = {entry["layer"]: entry for entry in network.report}
    first = [
        layer
        for layer in network.program.layers
        if any(synapse.source == INPUT for synapse in layer.synapses)
    ]
    if all(layer.fires and entries[layer.name].get("spike_rate") == 0 for layer in first):
        entry = entries[first[0].name]
        raise InputError(
            f"{source}: layer {first[0].name!r} is {entry['warning']}; expected spikes on the"
            " calibration recordings, as nothing else reads the input; correct that, or export it"
            " with --allow-silent"
        )


def write_bundle(out: Path, targets: Collection[str], network: QuantisedNetwork) -> Bundle:
    """Write a bundle with the files of `targets`, as `export_run` describes them."""
    _check_targets(targets)
    wanted = [target for target in TARGETS if target in targets or "all" in targets]
    try:
        writers = {
            name: write for target in wanted for name, write in _writers(target, network).items()
        }
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    return bundles.write(
        out,
        network.program,
        network.contract,
        network.classes,
        origin=network.origin,
        quantisation=network.report,
        writers=writers,
        nothing=network.nothing,
    )


def _writers(target: str, network: QuantisedNetwork) -> dict[str, Writer]:
    """Give the files of a target that can hold the network, each with what writes it."""
    from tmkt.export.targets.c import write_c, write_c_header
    from tmkt.export.targets.c_events import Camera
    from tmkt.export.targets.lava import write_lava
    from tmkt.export.targets.nir import write_nir
    from tmkt.export.targets.onnx import write_onnx
    from tmkt.export.targets.onnx_float import float_to_onnx
    from tmkt.export.targets.program_nir import program_to_nir

    graph, program, classes = network.graph, network.program, network.classes
    if target == "lava":
        if not fits_netx(program):
            return {}
        return {bundles.LAVA: lambda path: write_lava(program, path)}
    if target == "c":
        contract = network.contract
        camera = None
        if isinstance(contract, InputContract):
            camera = Camera(contract, classes, network.nothing)
        return {
            bundles.C_SOURCE: lambda path: write_c(program, path, camera),
            bundles.C_HEADER: lambda path: write_c_header(program, path, camera),
        }
    writers: dict[str, Writer] = {}
    if target == "nir":
        writers[bundles.NIR] = lambda path: write_nir(graph, path)
        with suppress(InputError):  # NIR has no form for some programs
            integers = program_to_nir(program)
            writers[bundles.NIR_INTEGERS] = lambda path: write_nir(integers, path)
    else:
        writers[bundles.ONNX] = lambda path: write_onnx(program, path, classes)
        with suppress(InputError):  # nor this form for some float networks
            float_graph = float_to_onnx(graph)
            writers[bundles.ONNX_FLOAT] = lambda path: float_graph.write(path, classes)
    return writers


def _check_targets(targets: Collection[str]) -> None:
    unknown = [target for target in targets if target not in (*TARGETS, "all")]
    if unknown:
        known = ["all", *TARGETS]
        raise InputError(
            f"target {unknown[0]!r}: unknown, known are"
            f" {', '.join(known)}{nearest(unknown[0], known)}"
        )


def _missing(error: ModuleNotFoundError) -> InputError:
    return InputError(
        f"the package {error.name} is not installed, and exporting needs it;"
        f" {pip_install('export')}"
    )
