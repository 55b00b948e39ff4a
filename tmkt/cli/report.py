"""Command tmkt report."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmkt import console
from tmkt.cli.options import DataOption, EnginesOption, JsonOption, SplitOption
from tmkt.cli.places import ForceOption, need_page_place
from tmkt.cli.steps import (
    choose_recordings,
    engines_to_compare,
    names,
    open_bundle,
    read_frames,
    run_export,
    shared_recordings,
)
from tmkt.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tmkt.bundle import Bundle
    from tmkt.datasets.types import Recording
    from tmkt.deploy.report.gather import Samples, Wanted
    from tmkt.runs import Run

app = typer.Typer(rich_markup_mode=None)
DEVICES = ("loihi1", "loihi2")


@dataclass(frozen=True)
class Opened:
    """Subject of a report: a bundle and its run, or a run alone and why its network does not become
    integers.
    """

    name: str
    bundle: "Bundle | None"
    run: "Run | None" = None
    refused: str = ""


@app.command(epilog="Example: tmkt report runs/nmnist --data data/nmnist --out nmnist.html")
def report(
    target: Annotated[Path, typer.Argument(help="A run or a bundle.")],
    other: Annotated[
        Path | None,
        typer.Argument(
            help="A second one, to compare with over the same recordings.", show_default=False
        ),
    ] = None,
    data: DataOption = None,
    out: Annotated[Path, typer.Option("--out", help="The page to write.")] = Path("report.html"),
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            help="The run that the bundle was made from: learning curves.",
            show_default=False,
        ),
    ] = None,
    split: SplitOption = "test",
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="At most so many recordings, drawn once for all.")
    ] = 200,
    engines: EnginesOption = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            help="A chip for cores and energy; may be repeated [loihi1, loihi2].",
            show_default=False,
        ),
    ] = None,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Write all that is known of a run or a bundle as one page to look at: no server, no network.

    A run is exported for the report as 8-bit integers. Without --data, what needs recordings is
    left out.
    """
    from tmkt.deploy.energy.report import check_device
    from tmkt.deploy.report.gather import Wanted

    need_page_place(out, force)
    wanted = Wanted(names(engines) if engines else (), tuple(dict.fromkeys(device or DEVICES)))
    for name in wanted.devices:
        check_device(name)
    if other is not None and run is not None:
        raise InputError(
            "report: --run goes with one bundle, found two; to compare with learning curves, give"
            " the runs themselves"
        )
    with _opened(target, run) as first:
        if other is None:
            shown = _write_one(first, data, split=split, limit=limit, wanted=wanted, out=out)
        else:
            with _opened(other, None) as second:
                shown = _write_two(
                    first, second, data=data, split=split, limit=limit, wanted=wanted, out=out
                )
    console.note(f"Wrote {out}: open it in a browser")
    if json:
        console.emit_json(shown)


@contextmanager
def _opened(target: Path, run: Path | None) -> Iterator[Opened]:
    """Open a run or a bundle; a run is exported to a bundle that lasts as long as the report is
    made.
    """
    from tempfile import TemporaryDirectory

    from tmkt.bundle import MANIFEST, sha256
    from tmkt.runs import MODEL, RECIPE, load_run

    if (target / MANIFEST).is_file():
        bundle = open_bundle(target)
        opened = None if run is None else load_run(run)
        if opened is not None and sha256(opened.path / MODEL) != bundle.manifest["origin"].get(
            "model_sha256"
        ):
            raise InputError(
                f"{run}: not the run that {target} was made from (other weights); give that run, or"
                " leave out --run"
            )
        yield Opened(str(target), bundle, opened)
        return
    if not (target / RECIPE).is_file():
        found = "neither a run nor a bundle" if target.exists() else "no such folder"
        raise InputError(
            f"{target}: {found}, expected a run or a bundle; make one with: tmkt train, tmkt export"
        )
    if run is not None:
        raise InputError(
            f"{target}: is a run itself, found --run {run} as well; leave out --run, or give the"
            " bundle first"
        )
    trained = load_run(target)
    with TemporaryDirectory(prefix="tmkt-report-") as folder:
        try:
            made = Opened(
                str(target), run_export(target, Path(folder) / "bundle", "all", 8), trained
            )
        except InputError as error:
            console.note(f"The report is of the training alone: {error}")
            made = Opened(str(target), None, trained, str(error))
        yield made


def read_samples(
    bundle: "Bundle", recordings: "list[Recording]", data: Path, split: str
) -> "Samples":
    """Read the recordings for a report, with progress."""
    from tmkt.deploy.report.gather import Samples

    frames, labels = read_frames(bundle, recordings)
    return Samples(recordings, frames, labels, data, split)


def _gather(
    opened: Opened, samples: "Samples | None", wanted: "Wanted"
) -> "tuple[dict[str, Any], NDArray[np.int64] | None]":
    """Make the report; also return the answers to the recordings."""
    from tmkt.deploy.report.gather import gather, of_run

    if opened.bundle is None:
        assert opened.run is not None
        return of_run(opened.run, opened.name, opened.refused), None
    if samples is not None and not wanted.engines:
        wanted = replace(wanted, engines=engines_to_compare(None, opened.bundle))
    with console.progress("report") as update:
        return gather(
            opened.bundle,
            opened.run,
            samples=samples,
            wanted=wanted,
            name=opened.name,
            progress=update,
        )


def write_report(
    opened: Opened, samples: "Samples | None", wanted: "Wanted", out: Path
) -> dict[str, Any]:
    """Make a report, write its page, and return the report."""
    from tmkt.deploy.report.page import write_page
    from tmkt.deploy.report.samples import pack_samples

    shown, predictions = _gather(opened, samples, wanted)
    player = None
    if opened.bundle is not None and samples is not None and predictions is not None:
        shown["samples"], player = pack_samples(opened.bundle, samples, predictions)
    write_page(out, shown, player)
    return shown


def _write_one(
    opened: Opened, data: Path | None, split: str, limit: int, wanted: "Wanted", out: Path
) -> dict[str, Any]:
    samples = None
    if opened.bundle is not None and data is not None:
        samples = read_samples(
            opened.bundle,
            choose_recordings(opened.bundle, data, split, limit, "report"),
            data,
            split,
        )
    return write_report(opened, samples, wanted, out)


def _write_two(
    first: Opened,
    second: Opened,
    data: Path | None,
    split: str,
    limit: int,
    wanted: "Wanted",
    out: Path,
) -> dict[str, Any]:
    from tmkt.deploy.report.compare import compare, write_comparison

    samples: tuple[Samples | None, Samples | None] = (None, None)
    if data is not None and first.bundle is not None and second.bundle is not None:
        chosen = shared_recordings(
            first.bundle,
            second.bundle,
            data=data,
            split=split,
            limit=limit,
            command="report",
            advice="leave out --data to compare the rest",
        )
        samples = (
            read_samples(first.bundle, chosen, data, split),
            read_samples(second.bundle, chosen, data, split),
        )
    reports, answers = zip(
        *(_gather(opened, of, wanted) for opened, of in zip((first, second), samples, strict=True)),
        strict=True,
    )
    labels = None if samples[0] is None else samples[0].labels
    shown = compare(reports[0], reports[1], (answers[0], answers[1]), labels)
    write_comparison(out, shown)
    return shown
