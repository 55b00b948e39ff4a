"""tmkt export FILE.nir: a network of another framework."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tmkt import console
from tmkt.cli.folders import need_data
from tmkt.cli.places import need_bundle_place
from tmkt.cli.steps import names
from tmkt.errors import InputError
from tmkt.install import pip_install

if TYPE_CHECKING:
    from tmkt.bundle import Bundle
    from tmkt.events.coverage import Coverage
    from tmkt.events.frames import InputContract
    from tmkt.export.import_nir import Calibration


@dataclass(frozen=True)
class NirOptions:
    """Options for what a .nir file leaves open; None: not given."""

    dt: float | None = None
    fires_at: str | None = None
    reset: str | None = None
    inputs: str | None = None
    decay: str | None = None
    sensor: str | None = None
    dataset: str | None = None
    data: Path | None = None
    bins: int | None = None
    bin_us: int | None = None
    max_count: int | None = None

    @property
    def given(self) -> list[str]:
        """List the options that were given, as they are written."""
        return [
            "--" + name.replace("_", "-") for name, value in vars(self).items() if value is not None
        ]


class NirExport(NamedTuple):
    """A bundle made of a .nir file, how the file was read, and how much of the calibration
    recordings the bins cut (None: nothing).
    """

    bundle: "Bundle"
    reading: dict[str, Any]
    cut: str | None


def run_nir_export(
    path: Path,
    out: Path,
    target: str,
    bits: str | None,
    options: NirOptions,
    *,
    allow_silent: bool,
    force: bool = False,
) -> NirExport:
    """Export a .nir file; how it was read is also printed."""
    from tmkt.events.coverage import describe_cut
    from tmkt.events.frames import InputContract
    from tmkt.nir.conventions import Conventions
    from tmkt.readers import parse_sensor

    try:
        from tmkt.export.import_nir import export_nir, import_nir_file
    except ModuleNotFoundError as error:
        raise InputError(
            f"export: {error.name} is not installed; {pip_install('export')}"
        ) from None
    conventions = Conventions(
        options.dt, options.fires_at, options.reset, options.inputs, options.decay
    )
    sensor = None if options.sensor is None else parse_sensor(options.sensor)
    network = import_nir_file(path, conventions, sensor)
    for note in network.notes:
        console.note(f"{path.name}: {note}")
    reading: dict[str, Any] = {
        "notes": list(network.notes),
        "nodes": [reading._asdict() for reading in network.readings],
    }
    if options.bins is None or options.bin_us is None:
        raise InputError(
            f"{path}: no --bins or --bin-us, expected how recordings become its time steps: --bins"
            " T --bin-us 1000 (and --max-count)"
        )
    contract = InputContract(
        network.input_shape[1:], options.bins, options.bin_us, options.max_count or 1
    )
    name = options.dataset or "folders"
    need_bundle_place(out, name, of_run=False, force=force)
    if bits is not None and options.data is None:
        raise InputError(
            f"{path}: no --data to calibrate on, expected recordings of what it was trained on; add"
            " --data DIR, or --bits none"
        )
    classes = _classes(name, options.data) or [str(k) for k in range(network.classes)]
    calibration, cut = None, None
    if bits is not None:
        calibration, coverage = _calibration(options.data, name, classes, contract)
        reading["outside_bins"] = asdict(coverage)
        cut = describe_cut(coverage, contract.bins, contract.bin_us, "--bins ", "--bin-us ")
    bundle = export_nir(
        network,
        out,
        names(target),
        bits,
        contract=contract,
        dataset=name,
        classes=classes,
        calibration=calibration,
        allow_silent=allow_silent,
    )
    return NirExport(bundle, reading, cut)


def _classes(name: str, data: Path | None) -> list[str]:
    """List the names of a data set's classes; empty where only its folder, which is not given,
    tells them.
    """
    from tmkt.datasets.registry import dataset

    source = dataset(name)
    return list(
        source.classes or (() if data is None else source.class_names(need_data(data, "export")))
    )


def _calibration(
    data: Path | None, name: str, classes: list[str], contract: "InputContract"
) -> "tuple[Calibration, Coverage]":
    """Draw recordings of a data set, and read their frames; also return how much of them the bins
    leave out.
    """
    from tmkt.datasets.reading import load_binned
    from tmkt.datasets.registry import dataset
    from tmkt.datasets.splits import draw
    from tmkt.events.coverage import coverage_of
    from tmkt.export.import_nir import Calibration
    from tmkt.runs import CALIBRATION_RECORDINGS, MAX_CALIBRATION_BYTES

    most = max(1, MAX_CALIBRATION_BYTES // contract.frame_bytes)
    chosen = draw(
        dataset(name, classes).find_recordings(need_data(data, "export")),
        min(CALIBRATION_RECORDINGS, most),
    )
    with console.progress("calibrate") as update:
        binned = load_binned(chosen, contract, lambda done: update(done, len(chosen), None))
    calibration = Calibration(binned.frames, sorted({r.instance for r in chosen}))
    return calibration, coverage_of(binned.extents, contract)
