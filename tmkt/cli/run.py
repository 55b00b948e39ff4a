"""tmkt evaluate and tmkt parity: run a bundle on recordings."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmkt import console
from tmkt.cli.options import (
    BinsOption,
    BinUsOption,
    EnginesOption,
    JsonOption,
    LimitOption,
    MaxCountOption,
    NeededDataOption,
    SplitOption,
    engine_names,
)
from tmkt.cli.places import need_place
from tmkt.cli.steps import (
    choose_recordings,
    engines_to_compare,
    note_slow_engines,
    open_bundle,
    read_frames,
    read_recordings,
    run_parity,
)
from tmkt.cli.tables.evaluation import print_evaluation
from tmkt.cli.tables.parity import print_parity
from tmkt.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tmkt.bundle import Bundle
    from tmkt.datasets.types import Recording

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=(
        "Example: tmkt evaluate bundles/nmnist --data data/nmnist --results answers.jsonl --json"
    )
)
def evaluate(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            help="simulator, onnx, torch (on a GPU where there is one), c, lava or float.",
            autocompletion=engine_names,
        ),
    ] = "simulator",
    data: NeededDataOption = None,
    split: SplitOption = "test",
    limit: LimitOption = None,
    bins: BinsOption = None,
    bin_us: BinUsOption = None,
    max_count: MaxCountOption = None,
    ray: Annotated[
        str | None,
        typer.Option("--ray", help="Run on the Ray cluster at this address (host:port, or auto)."),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option("--results", help="Write the answer to every recording, as JSON lines."),
    ] = None,
    save_spikes: Annotated[
        Path | None,
        typer.Option(
            "--save-spikes",
            help="Write input and spikes of all layers: NIRData, or FILE.npz (docs/parity.md).",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Run a bundle on recordings: accuracy, spikes, synaptic operations, time."""
    opened = open_bundle(bundle, bins, bin_us, max_count)
    recordings = choose_recordings(opened, data, split, limit, "evaluate")
    if save_spikes is not None:
        need_place(save_spikes)
    report = _evaluate(opened, engine, recordings, ray, results)
    if save_spikes is not None:
        _save_spikes(opened, engine, recordings, save_spikes)
    labels = {*(recording.label for recording in recordings), opened.nothing}
    tested = [name for label, name in enumerate(opened.classes) if label in labels]
    report = {
        **report,
        "split": split,
        "bundle": str(bundle),
        "classes": opened.classes,
        "classes_tested": tested,
    }
    if json:
        console.emit_json(report)
    else:
        print_evaluation(report)
    for line in report["warnings"]:
        console.note(line)


def _evaluate(
    bundle: "Bundle",
    engine: str,
    recordings: "list[Recording]",
    ray: str | None,
    results: Path | None,
) -> dict[str, Any]:
    """Evaluate with progress and return the report; answers of all recordings go to `results`."""
    import numpy as np

    from tmkt.deploy.engines.registry import open_engine
    from tmkt.deploy.evaluate import evaluate, write_results
    from tmkt.deploy.nothing import nothing_report
    from tmkt.deploy.shards import Runner, in_this_process, run_recordings
    from tmkt.deploy.warnings import evaluation_warnings
    from tmkt.kernels import working_time_s

    if results is not None:
        need_place(results)
    runner: Runner = in_this_process
    threads = None
    if ray is not None:
        from tmkt.deploy.ray_cluster import on_ray

        runner, threads = on_ray(ray), 1
    note_slow_engines(bundle, [engine], len(recordings))
    labels = np.array([recording.label for recording in recordings], np.int64)
    begin = working_time_s()
    with console.progress("evaluate") as update:
        update(0, len(recordings), None)

        def show(done: int) -> None:
            update(done, len(recordings), None)

        answers = run_recordings(
            bundle, engine, recordings=recordings, runner=runner, threads=threads, progress=show
        )
    elapsed = working_time_s() - begin
    if results is not None:
        write_results(results, recordings, answers)
    console.note(
        f"{len(recordings)} recordings in {elapsed:.1f} s, {len(recordings) / elapsed:.0f} a"
        " second, start included"
    )
    nothing = None
    if bundle.nothing is not None:
        opened = open_engine(engine, bundle, threads=threads)
        nothing = nothing_report(bundle, opened, answers.predictions, labels, recordings[0].view)
    return {
        **evaluate(engine, bundle.program.classes, answers, labels).to_json(),
        **({} if nothing is None else {"nothing": nothing}),
        "elapsed_s": elapsed,
        **evaluation_warnings(bundle, answers),
    }


def _save_spikes(bundle: "Bundle", engine: str, recordings: "list[Recording]", path: Path) -> None:
    """Run the recordings once more, and write what every layer does."""
    from tmkt.deploy.engines.registry import open_engine
    from tmkt.deploy.recorded.file import write_recorded
    from tmkt.deploy.recorded.record import record

    frames, _ = read_frames(bundle, recordings)
    recorded = record(bundle, open_engine(engine, bundle), frames)
    write_recorded(recorded, path, bundle.contract.bin_us * 1e-6)
    console.note(f"{path}: compare another engine's with tmkt parity {bundle.path} --against FILE")


@app.command(
    epilog=(
        "Example: tmkt parity bundles/nmnist --engines simulator,onnx,lava,float --data data/nmnist"
        " --limit 100"
    )
)
def parity(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    engines: EnginesOption = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            help=(
                "Spikes and membranes that a chip or another framework recorded, in place of"
                " engines: NIRData, or FILE.npz (docs/parity.md)."
            ),
            show_default=False,
        ),
    ] = None,
    data: NeededDataOption = None,
    split: SplitOption = "test",
    limit: LimitOption = 100,
    bins: BinsOption = None,
    bin_us: BinUsOption = None,
    max_count: MaxCountOption = None,
    max_drop: Annotated[
        float,
        typer.Option(
            "--max-drop",
            min=0.0,
            help="Points of accuracy that may be lost to float, or by an engine.",
        ),
    ] = 0.5,
    max_mismatches: Annotated[
        int,
        typer.Option("--max-mismatches", min=0, help="Spikes and read-out values that may differ."),
    ] = 0,
    json: JsonOption = False,
) -> None:
    """Check that engines compute the same spikes, and name the first that differs and the likely
    cause; exit code 1 if they do not.
    """
    opened = open_bundle(bundle, bins, bin_us, max_count)
    if against is not None:
        if engines is not None:
            raise InputError(
                f"{against}: --engines beside --against, expected one of them; leave one out"
            )
        frames = None if data is None else read_recordings(opened, data, split, limit, "parity")[0]
        raise typer.Exit(0 if _against(opened, against, frames, max_mismatches, json) else 1)
    compared = engines_to_compare(engines, opened)
    frames, labels = read_recordings(opened, data, split, limit, "parity")
    report = run_parity(
        opened,
        compared,
        frames=frames,
        labels=labels,
        max_drop=max_drop,
        max_mismatches=max_mismatches,
    )
    if json:
        console.emit_json({**report, "split": split, "bundle": str(bundle)})
    else:
        print_parity(report)
    for line in report["warnings"]:
        console.note(line)
    raise typer.Exit(0 if report["passed"] else 1)


def _against(
    bundle: "Bundle",
    path: Path,
    given: "NDArray[np.uint8] | None",
    max_mismatches: int,
    json: bool,
) -> bool:
    """Compare a file of recorded spikes with the simulator; tell whether they agree."""
    from tmkt.cli.tables.against import print_against
    from tmkt.deploy.parity.against import against, recorded_frames
    from tmkt.deploy.recorded.file import read_recorded

    recorded = read_recorded(path, bundle.contract.bin_us * 1e-6)
    frames = recorded_frames(bundle, recorded, given)
    report = against(bundle, recorded, frames, max_mismatches)
    if json:
        console.emit_json({**report, "against": str(path), "bundle": str(bundle.path)})
    else:
        print_against(report, path)
    return bool(report["passed"])
