"""Command tmkt energy."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmkt import console
from tmkt.cli.options import (
    BinsOption,
    BinUsOption,
    JsonOption,
    LimitOption,
    MaxCountOption,
    NeededDataOption,
    SplitOption,
)
from tmkt.cli.places import need_place
from tmkt.cli.steps import (
    open_bundle,
    read_frames,
    read_recordings,
    run_energy,
    shared_recordings,
)
from tmkt.cli.tables.energy import print_energy, print_energy_comparison
from tmkt.errors import InputError

if TYPE_CHECKING:
    from tmkt.bundle import Bundle
    from tmkt.deploy.energy.activity import Activity

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=(
        "Example: tmkt energy bundles/nmnist --device loihi1 --device loihi2 --data data/nmnist"
        " --limit 100 --plot energy.svg"
    )
)
def energy(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    other: Annotated[
        Path | None,
        typer.Argument(
            help="A second bundle, to compare with over the same recordings.", show_default=False
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device", help="A chip to estimate for; may be repeated [loihi1].", show_default=False
        ),
    ] = None,
    data: NeededDataOption = None,
    split: SplitOption = "test",
    limit: LimitOption = 100,
    bins: BinsOption = None,
    bin_us: BinUsOption = None,
    max_count: MaxCountOption = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            help="Write every figure to this file, by layer, class and step.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Draw the estimates, .svg or .png.", show_default=False),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Also measure the ONNX file on this machine's processor: 20 s."
        ),
    ] = False,
    receipts: Annotated[
        bool,
        typer.Option(
            "--receipts",
            help=(
                "Print what each figure includes, leaves out and rests on, also by class and step."
            ),
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Estimate the energy of an inference from counted spikes, with interval, inclusions and
    exclusions.
    """
    from tmkt.deploy.energy.report import check_device
    from tmkt.deploy.engines.registry import open_engine

    devices = list(dict.fromkeys(device or ["loihi1"]))
    first = open_bundle(bundle, bins, bin_us, max_count)
    for name in devices:
        check_device(name)
    if other is not None:
        if csv is not None or plot is not None or measure:
            raise InputError(
                "energy: --csv, --plot and --measure are for one bundle, found two; leave one out,"
                " or use --json"
            )
        second = open_bundle(other, bins, bin_us, max_count)
        report = {
            **_compare(first, second, devices=devices, data=data, split=split, limit=limit),
            "split": split,
            "bundles": [str(bundle), str(other)],
        }
        if json:
            console.emit_json(report)
        else:
            print_energy_comparison(report, receipts)
        for line in report["warnings"]:
            console.note(line)
        return
    for path in (csv, plot):
        if path is not None:
            need_place(path)
    if plot is not None:
        from tmkt.deploy.energy.plot import check_plot

        check_plot(plot)
    to_measure = open_engine("onnx", first) if measure else None
    frames, labels = read_recordings(first, data, split, limit, "energy")
    report = {**run_energy(first, devices, frames, labels), "split": split, "bundle": str(bundle)}
    if to_measure is not None:
        from tmkt.deploy.energy.measure import measure_onnx

        console.note("Measuring ONNX Runtime on this machine's processor: 20 s where it can be ...")
        report["measured"] = measure_onnx(to_measure, first.program, frames)
    if csv is not None:
        from tmkt.deploy.energy.spreadsheet import write_csv

        write_csv(csv, report, str(bundle))
    if plot is not None:
        from tmkt.deploy.energy.plot import write_plot

        write_plot(plot, report, bundle.name)
    if json:
        console.emit_json(report)
    else:
        print_energy(report, receipts)
    for line in report["warnings"]:
        console.note(line)


def _compare(
    first: "Bundle",
    second: "Bundle",
    devices: list[str],
    data: Path | None,
    split: str,
    limit: int | None,
) -> dict[str, Any]:
    """Compare two bundles over the recordings that are in the split of both, with progress.

    `warnings` of the report name the silent and saturated layers of each.
    """
    from tmkt.deploy.energy.activity import count_activity
    from tmkt.deploy.energy.compare import compare
    from tmkt.deploy.energy.report import activity_warnings

    chosen = shared_recordings(first, second, data=data, split=split, limit=limit, command="energy")
    warnings = []

    def count(bundle: "Bundle") -> "Activity":
        frames, labels = read_frames(bundle, chosen)
        with console.progress("energy") as update:
            activity = count_activity(
                bundle, frames, labels, devices, lambda done: update(done, len(chosen), None)
            )
        for line in activity_warnings(activity, frames):
            warnings.append(f"warning: {bundle.path}: {line.removeprefix('warning: ')}")
        return activity

    return {**compare(count(first), count(second), devices), "warnings": warnings}
