"""Steps that several commands share: open, read, train, export and check, with progress
and errors.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmkt import console
from tmkt.cli.extras import needing
from tmkt.cli.folders import need_data
from tmkt.cli.places import need_bundle_place
from tmkt.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tmkt.bundle import Bundle
    from tmkt.datasets.types import Recording

LONG_S = 20  # work that takes longer is announced


def names(text: str) -> list[str]:
    """Split a list given with commas."""
    return [name.strip() for name in text.split(",")]


def engines_to_compare(asked: str | None, bundle: "Bundle") -> list[str]:
    """Give the engines of --engines; without it the usual ones that are installed.

    Says in a line each which were left out.
    """
    from tmkt.deploy.engines.registry import USUAL, installed_engines

    if asked is not None:
        return names(asked)
    found, missing = installed_engines(USUAL, bundle)
    for line in missing:
        console.note(line)
    return found


def run_training(
    recipe: Any,
    data: Path | None,
    static: Path | None,
    out: Path,
    resume: bool,
    start: Any = None,
    test: Path | None = None,
) -> Any:
    """Train with a progress bar, and say what Ctrl-C leaves.

    `start`: the run that training on integers continues. `test`: the folder of the recordings to
    test on, where it is another than `data`.
    """
    from tmkt.runs import CHECKPOINT, INFO

    with needing("train", "train"):
        from tmkt.train.trainer import train
    finished = (out / INFO).is_file()
    try:
        with console.progress("train") as update:

            def show(done: int, total: int, metrics: dict[str, float]) -> None:
                figures = {key: metrics[key] for key in ("loss", "accuracy")}
                # The head alone is quick, and tells nothing of the steps behind it.
                head_alone = done <= recipe.train.frozen_steps < total
                update(done, total, figures, math.inf if head_alone else None)

            run = train(
                recipe,
                data,
                static,
                out,
                resume=resume,
                progress=show,
                report=console.note,
                start=start,
                test=test,
            )
    except KeyboardInterrupt:
        if not (out / CHECKPOINT).is_file():
            raise
        again = "the same command" if resume else "the same command and --resume"
        console.error(f"interrupted; {out} keeps what was learned, go on with {again}")
        raise SystemExit(130) from None
    if finished:
        console.note(f"{out}: this training was finished before; nothing was trained now")
    tested = run.info["test"]
    if tested["samples"]:
        kind = "Float network" if start is None else "Integers"
        before = (
            "" if start is None else f" (float {console.percent(start.info['test']['accuracy'])})"
        )
        only = f", {tested['recordings']}" if "recordings" in tested else ""
        of = len(run.info["classes"]) - ("nothing" in run.info)  # which no recording is of
        if (names := tested.get("classes")) is not None and len(names) < of:
            only += f" (only {', '.join(names)}, of {of} classes)"
        if (chosen := run.info.get("chosen")) is not None:
            kind += (
                f", step {chosen['step']} of {recipe.train.steps} (chosen by validation:"
                f" {console.percent(chosen['accuracy'])}),"
            )
        console.note(
            f"{kind} on {tested['samples']} recordings that were not trained on{only}:"
            f" {console.percent(tested['accuracy'])}{before}"
        )
    return run


def run_qat(
    run: Path,
    bits: str,
    settings: list[str] | None,
    data: Path | None,
    static: Path | None,
    out: Path,
    resume: bool,
    test: Path | None = None,
) -> None:
    """Train a finished run on integers, into `out`.

    Without `data`, training uses the run's calibration recordings alone.
    """
    from tmkt.runs import load_run

    start = load_run(run)
    with needing("train", "train"):
        from tmkt.train.qat.training import qat_recipe
    run_training(
        qat_recipe(start, bits, settings),
        data,
        static=static,
        out=out,
        resume=resume,
        start=start,
        test=test,
    )


def run_export(
    run: Path,
    out: Path,
    target: str,
    bits: int | str | None,
    *,
    allow_silent: bool = False,
    force: bool = False,
) -> "Bundle":
    """Export a finished run to a bundle."""
    from tmkt.runs import load_run

    opened = load_run(run)
    need_bundle_place(out, opened.recipe.data.name, of_run=True, force=force)
    with needing("export", "export"):
        from tmkt.export.export import export_run
    calibration = opened.load_calibration()
    return export_run(
        opened,
        out,
        targets=names(target),
        bits=bits,
        calibration=calibration,
        allow_silent=allow_silent,
    )


def open_bundle(
    path: Path, bins: int | None = None, bin_us: int | None = None, max_count: int | None = None
) -> "Bundle":
    """Read and check a bundle; options that are given replace its binning of recordings.

    What its simulator needs is compiled beside what comes next, mostly the reading of recordings.
    """
    from tmkt.bundle import load, rebinned
    from tmkt.program.simulator.ahead import compile_ahead

    opened = rebinned(load(path), bins, bin_us, max_count)
    compile_ahead(opened.program)
    return opened


def choose_recordings(
    bundle: "Bundle", data: Path | None, split: str, limit: int | None, command: str
) -> "list[Recording]":
    """List the recordings of a split of the bundle's data set, without reading them."""
    from tmkt.datasets.seen import recordings_of

    return recordings_of(bundle.manifest, need_data(data, command), split, limit)


def read_recordings(
    bundle: "Bundle", data: Path | None, split: str, limit: int | None, command: str
) -> "tuple[NDArray[np.uint8], NDArray[np.int64]]":
    """Read frames uint8 [N, T, 2, H, W] and labels of a split of the bundle's data set."""
    return read_frames(bundle, choose_recordings(bundle, data, split, limit, command))


def read_frames(
    bundle: "Bundle", recordings: "list[Recording]"
) -> "tuple[NDArray[np.uint8], NDArray[np.int64]]":
    """Read frames and labels of recordings as the bundle's network takes them, with progress."""
    from tmkt.datasets.reading import load_frames

    with console.progress("read") as update:
        return load_frames(
            recordings, bundle.contract, lambda done: update(done, len(recordings), None)
        )


def shared_recordings(
    first: "Bundle",
    second: "Bundle",
    *,
    data: Path | None,
    split: str,
    limit: int | None,
    command: str,
    advice: str = "compare bundles of one data set",
) -> "list[Recording]":
    """Draw recordings that are in the split of both bundles, without reading them.

    Raises InputError for bundles of different data sets, with `advice`, and where the splits share
    nothing.
    """
    from tmkt.datasets.splits import draw

    made_for, other = (bundle.manifest["origin"]["dataset"] for bundle in (first, second))
    if made_for != other:
        raise InputError(
            f"{second.path}: made for {other}, expected {made_for} as {first.path}; {advice}"
        )
    both = set(choose_recordings(second, data, split, None, command))
    shared = [r for r in choose_recordings(first, data, split, None, command) if r in both]
    if not shared:
        raise InputError(
            f"{second.path}: no recording of split {split!r} is also in that of {first.path}; try"
            " --split all"
        )
    return draw(shared, limit)


def note_slow_engines(bundle: "Bundle", engines: list[str], samples: int) -> None:
    """Say before the work that Lava takes long, and why."""
    from tmkt.deploy.engines.lava import expected_s

    if "lava" not in engines:
        return
    low, high = expected_s(bundle.program, bundle.contract.bins, samples)
    if high > LONG_S:
        console.note(
            f"lava: {samples} recordings take about {console.duration(low)} to"
            f" {console.duration(high)}, because Lava's model of the chip convolves each pair of"
            " channels by itself; --limit 10 takes fewer"
        )


def run_parity(
    bundle: "Bundle",
    engines: list[str],
    frames: "NDArray[np.uint8]",
    labels: "NDArray[np.int64]",
    max_drop: float,
    max_mismatches: int = 0,
) -> dict[str, Any]:
    """Compare engines with progress and return the parity report."""
    from tmkt.deploy.parity.report import parity

    note_slow_engines(bundle, engines, len(frames))
    with console.progress("parity") as update:

        def show(done: int, total: int, _: None, left_s: float | None) -> None:
            update(done, total, None, math.inf if left_s is None else left_s)

        return parity(
            bundle,
            engines,
            frames=frames,
            labels=labels,
            max_drop_points=max_drop,
            progress=show,
            max_mismatches=max_mismatches,
        )


def run_energy(
    bundle: "Bundle", devices: list[str], frames: "NDArray[np.uint8]", labels: "NDArray[np.int64]"
) -> dict[str, Any]:
    """Estimate energy with progress and return the report."""
    from tmkt.deploy.energy.report import energy

    with console.progress("energy") as update:
        return energy(bundle, devices, frames, labels, lambda done: update(done, len(frames), None))
