"""tmkt export FILE.nir: a network of another framework."""

import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tmkt import console
from tmkt.cli.extras import needing
from tmkt.cli.folders import need_data
from tmkt.cli.places import need_bundle_place
from tmkt.cli.steps import names
from tmkt.errors import InputError, Unsaid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tmkt.bundle import Bundle
    from tmkt.events.channels import Contract
    from tmkt.events.coverage import Coverage
    from tmkt.export.import_nir import Calibration, Imported
    from tmkt.nir.conventions import Conventions

MOST_LEFT_OPEN = 4  # things that a file may leave open: its time step, inputs, sensor or channels


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
    def words(self) -> dict[str, str]:
        """The options that were given and their values, as they are written."""
        return {
            "--" + name.replace("_", "-"): str(value)
            for name, value in vars(self).items()
            if value is not None
        }

    @property
    def conventions(self) -> "Conventions":
        """Conventions of the file's neurons, as far as the options say them."""
        from tmkt.nir.conventions import Conventions

        return Conventions(self.dt, self.fires_at, self.reset, self.inputs, self.decay)

    @property
    def sensor_size(self) -> tuple[int, int] | None:
        """(height, width) that the options say; InputError for other text."""
        from tmkt.readers import parse_sensor

        return None if self.sensor is None else parse_sensor(self.sensor)

    @property
    def channels(self) -> bool:
        """Tell whether the network reads channels of spikes."""
        return self.dataset == "spikes"

    def answered(self, error: Unsaid) -> "NirOptions | None":
        """Take an error's example for what it asks, to see what else is asked; None where there is
        none to take.
        """
        if error.option == "--dt":
            return replace(self, dt=float(error.example))
        if error.option == "--inputs":
            return replace(self, inputs=error.example)
        if error.option == "--sensor":
            return replace(self, sensor=error.example)
        if error.option == "--dataset":
            return replace(self, dataset=error.example)
        return None

    def unsaid_of_recordings(self, calibrated: bool) -> list[Unsaid]:
        """List what is not said of the recordings that the network is for."""
        missing = []
        if self.bins is None or self.bin_us is None:
            expected = "expected how recordings become its time steps"
            message = f"no --bins or --bin-us, {expected} (and --max-count)"
            missing.append(Unsaid(message, "--bins", str(self.bins or 10)))
            missing.append(Unsaid("", "--bin-us", str(self.bin_us or 10_000)))
        if calibrated and self.data is None:
            message = (
                "no --data to calibrate on, expected recordings of what it was trained on (or"
                " --bits none)"
            )
            missing.append(Unsaid(message, "--data", "DIR"))
        return missing


class NirExport(NamedTuple):
    """A bundle made of a .nir file, how the file was read, how much of the calibration recordings
    the bins cut (None: nothing), and their frames (None: the weights stay float).
    """

    bundle: "Bundle"
    reading: dict[str, Any]
    cut: str | None
    calibration: "NDArray[np.uint8] | None"


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

    with needing("export", "export"):
        from tmkt.export.import_nir import export_nir
    network = _read(path, options, calibrated=bits is not None)
    assert options.bins is not None
    assert options.bin_us is not None
    for note in network.notes:
        console.note(f"{path.name}: {note}")
    reading: dict[str, Any] = {
        "notes": list(network.notes),
        "nodes": [reading._asdict() for reading in network.readings],
    }
    contract = network.contract(options.bins, options.bin_us, options.max_count or 1)
    name = options.dataset or "folders"
    need_bundle_place(out, name, of_run=False, force=force)
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
    frames = None if calibration is None else calibration.frames
    return NirExport(bundle, reading, cut, frames)


def _read(path: Path, options: NirOptions, calibrated: bool) -> "Imported":
    """Read a file. What it leaves open and no option says is one error, with a whole command.

    `calibrated`: whether recordings are needed.
    """
    from tmkt.export.import_nir import import_nir_file

    missing: list[Unsaid] = []
    network, asked = None, options
    while network is None and len(missing) < MOST_LEFT_OPEN:
        try:
            network = import_nir_file(path, asked.conventions, asked.sensor_size, asked.channels)
        except Unsaid as error:
            missing.append(error)
            answered = asked.answered(error)
            if answered is None:
                break
            asked = answered
    if options.channels and options.sensor is not None:
        raise InputError(
            f"{path}: --sensor beside --dataset spikes, which is of no camera; leave --sensor out"
        )
    missing += options.unsaid_of_recordings(calibrated)
    if missing:
        given = {**options.words, **{found.option: found.example for found in missing}}
        words = [word for option in given.items() for word in option]
        raise InputError(
            f"{path}: {'; '.join(filter(None, map(str, missing)))}. For example:"
            f" {shlex.join(['tmkt', 'export', str(path), *words])}"
        )
    assert network is not None
    return network


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
    data: Path | None, name: str, classes: list[str], contract: "Contract"
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
