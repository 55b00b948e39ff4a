"""tmkt demo: the whole pipeline on data of its own."""

import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmkt import console
from tmkt.cli.report import DEVICES, Opened, read_samples, write_report
from tmkt.cli.steps import (
    choose_recordings,
    open_bundle,
    read_recordings,
    run_energy,
    run_export,
    run_parity,
    run_training,
)
from tmkt.cli.tables.demo import print_files
from tmkt.cli.tables.energy import print_energy
from tmkt.cli.tables.parity import print_parity
from tmkt.errors import InputError

if TYPE_CHECKING:
    from tmkt.bundle import Bundle
    from tmkt.deploy.report.gather import Samples
    from tmkt.runs import Run

app = typer.Typer(rich_markup_mode=None)
SHIPPED = Path(__file__).parents[1] / "quick"  # its README.md says how it was made
LAVA_RECORDINGS = 100


@app.command(epilog="Example: tmkt demo --quick")
def demo(
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder for the data, the run, the bundle and the report [demo, demo-quick].",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=1,
            help=f"Recordings that Lava runs; it is the slow one [{LAVA_RECORDINGS}].",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Without training, in seconds: a trained network and recordings come with tmkt.",
        ),
    ] = False,
) -> None:
    """Run the whole pipeline on real handwritten digits seen by a simulated event camera: no
    download, under 3 minutes.
    """
    if quick and limit is not None:
        raise InputError("demo: --quick runs no Lava, found --limit; give one of them")
    passed = _quick(out or Path("demo-quick")) if quick else _whole(out or Path("demo"), limit)
    raise typer.Exit(0 if passed else 1)


def _whole(out: Path, limit: int | None) -> bool:
    """Simulate, train, export and show; return whether parity was passed."""
    from tmkt.datasets.digits import DEMO_PER_CLASS, check_replaced, simulate_digits
    from tmkt.deploy.engines.lava import install_hint, installed
    from tmkt.recipe import load_recipe
    from tmkt.train import RECIPES
    from tmkt.train.run_folder import forget_run

    data, run_path, bundle_path = out / "data", out / "run", out / "bundle"
    console.note("1/6 Event recordings of handwritten digits, by the event-camera simulation")
    check_replaced(data, DEMO_PER_CLASS, 0)
    with console.progress("simulate") as update:
        simulate_digits(
            data, DEMO_PER_CLASS, 0, lambda done: update(done, 10 * DEMO_PER_CLASS, None)
        )
    console.note("2/6 Training with TMKT: a few recordings per class, and images of other digits")
    recipe = load_recipe("digits", RECIPES)
    forget_run(run_path, recipe)
    run = run_training(recipe, data, None, run_path, resume=False)
    console.note("3/6 Export: 8-bit integers, and files for Lava, NIR and ONNX")
    opened = run_export(run.path, bundle_path, "all", 8)
    samples = _read_samples(opened, data)
    limit = LAVA_RECORDINGS if limit is None else limit
    console.note(
        f"4/6 Parity: every engine on {len(samples.frames)} recordings that were not trained on"
        + (f", Lava on {limit} of them" if installed() else "")
    )
    reports = [_compare(opened, samples)]
    if installed():
        reports.append(
            run_parity(opened, ["lava"], *read_recordings(opened, data, "test", limit, "demo"), 0.5)
        )
    passed = _show(opened, run, samples, reports=reports, out=out, step=5)
    if not installed():
        console.note(f"Lava was left out: {install_hint()}")
    _say_next(out)
    return passed


def _quick(out: Path) -> bool:
    """Show the network and the recordings that come with tmkt; return whether parity was passed."""
    from tmkt.bundle import MANIFEST
    from tmkt.datasets.digits import MARKER
    from tmkt.runs import RECIPE, load_run

    console.note(f"1/4 A trained network and recordings that come with tmkt: {out}")
    parts = {"data": MARKER, "run": RECIPE, "bundle": MANIFEST}
    for name in parts:
        _check_replaced(SHIPPED / name, out / name)
    for name, marker in parts.items():
        _copy(SHIPPED / name, out / name, marker)
    opened = open_bundle(out / "bundle")
    samples = _read_samples(opened, out / "data")
    console.note(
        f"2/4 Parity: engines on {len(samples.frames)} recordings that were not trained on"
    )
    run, reports = load_run(out / "run"), [_compare(opened, samples)]
    passed = _show(opened, run, samples, reports=reports, out=out, step=3)
    console.note("Training, export and Lava, too, in under 3 minutes:", "tmkt demo")
    _say_next(out)
    return passed


def _check_replaced(source: Path, place: Path) -> None:
    """Raise InputError if copying `source` to `place` would replace a file of another name."""
    names = _files(source)
    other = next((name for name in _files(place) if name not in names), None)
    if other is not None:
        raise InputError(
            f"{place}: holds {other!r}, which does not come with tmkt; choose another --out"
        )


def _copy(source: Path, place: Path, marker: str) -> None:
    """Copy a folder's files, not their permissions: an installed package may be read-only."""
    from tmkt.files import writing_folder

    with writing_folder(place, marker) as part:
        for name in _files(source):
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, part / name)


def _files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()
    )


def _read_samples(bundle: "Bundle", data: Path) -> "Samples":
    return read_samples(bundle, choose_recordings(bundle, data, "test", None, "demo"), data, "test")


def _compare(bundle: "Bundle", samples: "Samples") -> dict[str, Any]:
    """Compare the engines that every installation has."""
    return run_parity(bundle, ["float", "simulator", "onnx"], samples.frames, samples.labels, 0.5)


def _show(
    bundle: "Bundle",
    run: "Run",
    samples: "Samples",
    reports: list[dict[str, Any]],
    out: Path,
    step: int,
) -> bool:
    """Estimate energy, write the report and print the tables; return whether parity was passed.

    `step` is the number of the first of these two steps, the last ones.
    """
    from tmkt.bundle import LAVA, NIR, ONNX
    from tmkt.deploy.report.gather import Wanted

    console.note(f"{step}/{step + 1} Energy")
    estimates = run_energy(bundle, ["loihi1"], samples.frames, samples.labels)
    page = out / "report.html"
    console.note(f"{step + 1}/{step + 1} Report: {page}")
    write_report(
        Opened(str(bundle.path), bundle, run),
        samples,
        Wanted(devices=DEVICES, parity=reports, energy=estimates),
        page,
    )
    print_energy(estimates)
    print_parity(*reports)
    files = {
        "report, for a browser": page,
        "recordings": samples.data,
        "run": run.path,
        "bundle": bundle.path,
        "  Lava": bundle.path / LAVA,
        "  NIR": bundle.path / NIR,
        "  ONNX": bundle.path / ONNX,
    }
    print_files(estimates, files)
    return all(report["passed"] for report in reports)


def _say_next(out: Path) -> None:
    evaluate = shlex.join(["tmkt", "evaluate", str(out / "bundle"), "--data", str(out / "data")])
    console.note("Its mistakes:", evaluate)
    console.note("Your own recordings:", "tmkt init DIR")
    console.note(f"Next: open {out / 'report.html'} in a browser")
