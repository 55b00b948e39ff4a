"""tmkt evaluate, tmkt parity, tmkt energy: what runs a bundle on recordings."""

from pathlib import Path
from typing import Annotated

import typer

from tmkt import console
from tmkt.cli.options import DataOption, JsonOption, LimitOption, SplitOption
from tmkt.cli.steps import names, open_bundle, read_recordings, run_energy

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog="Example: tmkt evaluate bundles/nmnist --engine simulator --data data/nmnist --json")
def evaluate(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    engine: Annotated[str, typer.Option("--engine", help="simulator, onnx, lava or float.")] = "simulator",
    data: DataOption = None,
    split: SplitOption = "test",
    limit: LimitOption = None,
    json: JsonOption = False,
) -> None:
    """Run a bundle on recordings: accuracy, spikes, synaptic operations, time."""
    from tmkt.deploy.engines import open_engine
    from tmkt.deploy.evaluate import evaluate as run_evaluation

    opened = open_bundle(bundle)
    runner = open_engine(engine, opened)
    frames, labels = read_recordings(opened, data, split, limit, "evaluate")
    with console.progress("evaluate") as update:
        report = run_evaluation(opened, runner, frames, labels, lambda done: update(done, len(frames), None)).to_json()
    report = {**report, "split": split, "bundle": str(bundle), "classes": opened.classes}
    if json:
        console.emit_json(report)
        return
    console.evaluation_table(report)


@app.command(epilog="Example: tmkt parity bundles/nmnist --engines simulator,onnx,lava,float --data data/nmnist --limit 100")
def parity(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    engines: Annotated[str, typer.Option("--engines", help="Engines to compare, with commas.")] = "simulator,onnx,float",
    data: DataOption = None,
    split: SplitOption = "test",
    limit: LimitOption = 100,
    max_drop: Annotated[float, typer.Option("--max-drop", min=0.0, help="Points of accuracy that may be lost to float, or by an engine.")] = 0.5,
    max_mismatches: Annotated[int, typer.Option("--max-mismatches", min=0, help="Spikes and read-out values that may differ.")] = 0,
    json: JsonOption = False,
) -> None:
    """Check that engines compute the same spikes, and name the first that differs and the likely cause; exit code 1 if they do not."""
    from tmkt.deploy.parity import parity as compare

    opened = open_bundle(bundle)
    frames, labels = read_recordings(opened, data, split, limit, "parity")
    with console.progress("parity") as update:
        report = compare(opened, names(engines), frames, labels, max_drop, update, max_mismatches)
    if json:
        console.emit_json({**report, "split": split, "bundle": str(bundle)})
    else:
        console.parity_table(report)
    raise typer.Exit(0 if report["passed"] else 1)


@app.command(epilog="Example: tmkt energy bundles/nmnist --device loihi1 --data data/nmnist --limit 100")
def energy(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    device: Annotated[str, typer.Option("--device", help="The chip to estimate for.")] = "loihi1",
    data: DataOption = None,
    split: SplitOption = "test",
    limit: LimitOption = 100,
    json: JsonOption = False,
) -> None:
    """Estimate the energy of an inference from counted spikes, with interval, inclusions and exclusions."""
    opened = open_bundle(bundle)
    frames, _ = read_recordings(opened, data, split, limit, "energy")
    report = run_energy(opened, device, frames)
    if json:
        console.emit_json({**report, "split": split, "bundle": str(bundle)})
    else:
        console.energy_table(report)
