"""tmkt demo: the whole pipeline on data of its own."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from tmkt import console
from tmkt.cli.report import DEVICES, Opened, read_samples, write_report
from tmkt.cli.steps import (
    choose_recordings,
    read_recordings,
    run_energy,
    run_export,
    run_parity,
    run_training,
)
from tmkt.cli.tables.demo import print_files
from tmkt.cli.tables.energy import print_energy
from tmkt.cli.tables.parity import print_parity

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog="Example: tmkt demo --out demo")
def demo(
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the data, the run, the bundle and the report.")
    ] = Path("demo"),
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="Recordings that Lava runs; it is the slow one.")
    ] = 100,
) -> None:
    """Run the whole pipeline on real handwritten digits seen by a simulated event camera: no
    download, under 3 minutes.
    """
    from tmkt.bundle import LAVA, NIR, ONNX
    from tmkt.datasets.digits import DEMO_PER_CLASS, check_replaced, simulate_digits
    from tmkt.deploy.engines.lava import install_hint, installed
    from tmkt.deploy.report.gather import Wanted
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
    samples = read_samples(
        opened, choose_recordings(opened, data, "test", None, "demo"), data, "test"
    )
    frames, labels = samples.frames, samples.labels
    console.note(
        f"4/6 Parity: every engine on {len(frames)} recordings that were not trained on"
        + (f", Lava on {limit} of them" if installed() else "")
    )
    reports = [run_parity(opened, ["float", "simulator", "onnx"], frames, labels, 0.5)]
    if installed():
        reports.append(
            run_parity(opened, ["lava"], *read_recordings(opened, data, "test", limit, "demo"), 0.5)
        )
    console.note("5/6 Energy")
    estimates = run_energy(opened, ["loihi1"], frames, labels)
    page = out / "report.html"
    console.note(f"6/6 Report: {page}")
    write_report(
        Opened(str(bundle_path), opened, run),
        samples,
        Wanted(devices=DEVICES, parity=reports, energy=estimates),
        page,
    )
    print_energy(estimates)
    print_parity(*reports)
    files = {
        "report, for a browser": page,
        "recordings": data,
        "run": run_path,
        "bundle": bundle_path,
        "  Lava": bundle_path / LAVA,
        "  NIR": bundle_path / NIR,
        "  ONNX": bundle_path / ONNX,
    }
    print_files(estimates, files)
    if not installed():
        console.note(f"Lava was left out: {install_hint()}")
    evaluate = shlex.join(["tmkt", "evaluate", str(bundle_path), "--data", str(data)])
    console.note("Its mistakes:", evaluate)
    console.note("Your own recordings:", "tmkt init DIR")
    console.note(f"Next: open {page} in a browser")
    raise typer.Exit(0 if all(report["passed"] for report in reports) else 1)
