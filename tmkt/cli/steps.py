"""What several commands do: open, read, train, export, check, each with its progress and its errors."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmkt import console
from tmkt.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tmkt.bundle import Bundle


def names(text: str) -> list[str]:
    """A list given with commas."""
    return [name.strip() for name in text.split(",")]


def need_data(data: Path | None, command: str) -> Path:
    """The recordings' folder; InputError where it is not given or not there."""
    if data is None:
        raise InputError(f"{command}: no --data given, expected the folder of the event recordings; add --data DIR")
    if not data.is_dir():
        raise InputError(f"{data}: no such folder, expected the event recordings; check --data")
    return data


def run_training(recipe: Any, data: Path, static: Path | None, out: Path, resume: bool) -> Any:
    """Trains with a progress bar; what Ctrl-C leaves is said."""
    from tmkt.runs import CHECKPOINT, INFO

    try:
        from tmkt.train.trainer import train
    except ModuleNotFoundError as error:
        raise InputError(f"train: {error.name} is not installed; pip install 'tmkt[train]'") from None
    finished = (out / INFO).is_file()
    try:
        with console.progress("train") as update:
            run = train(recipe, data, static, out, resume, lambda done, total, m: update(done, total, {k: m[k] for k in ("loss", "accuracy")}))
    except KeyboardInterrupt:
        if not (out / CHECKPOINT).is_file():
            raise
        console.error(f"interrupted; {out} keeps what was learned, go on with the same command and --resume")
        raise SystemExit(130) from None
    if finished:
        console.note(f"{out}: this training was finished before; nothing was trained now")
    test = run.info["test"]
    console.note(f"Float network on {test['samples']} recordings that were not trained on: {console.percent(test['accuracy'])}")
    return run


def run_export(run: Path, out: Path, target: str, bits: int) -> "Bundle":
    """Exports a finished run to a bundle."""
    from tmkt.runs import load_run

    opened = load_run(run)
    try:
        from tmkt.export.export import export_run
    except ModuleNotFoundError as error:
        raise InputError(f"export: {error.name} is not installed; pip install 'tmkt[export]'") from None
    return export_run(opened, out, names(target), bits, opened.load_calibration())


def open_bundle(path: Path) -> "Bundle":
    """Reads and checks a bundle."""
    from tmkt.bundle import load

    return load(path)


def read_recordings(
    bundle: "Bundle", data: Path | None, split: str, limit: int | None, command: str
) -> "tuple[NDArray[np.uint8], NDArray[np.int64]]":
    """Frames (uint8, [N, T, 2, H, W]) and labels of a split of the bundle's data set."""
    from tmkt.datasets import dataset, load_frames
    from tmkt.datasets.splits import choose, draw, from_ranges

    origin = bundle.manifest["origin"]
    found = dataset(origin["dataset"]).find_recordings(need_data(data, command))
    chosen = draw(choose(found, split, origin["trained_on"], from_ranges(origin["images_trained_on"])), limit)
    with console.progress("read") as update:
        return load_frames(chosen, bundle.contract, lambda done: update(done, len(chosen), None))


def run_parity(bundle: "Bundle", engines: list[str], frames: "NDArray[np.uint8]", labels: "NDArray[np.int64]", max_drop: float) -> dict[str, Any]:
    """The parity report, with progress."""
    from tmkt.deploy.parity import parity

    with console.progress("parity") as update:
        return parity(bundle, engines, frames, labels, max_drop, update)


def run_energy(bundle: "Bundle", device: str, frames: "NDArray[np.uint8]") -> dict[str, Any]:
    """The energy report, with progress."""
    from tmkt.deploy.energy import energy

    with console.progress("energy") as update:
        return energy(bundle, device, frames, lambda done: update(done, len(frames), None))
