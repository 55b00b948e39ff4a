"""tmkt export."""

from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from tmkt import console
from tmkt.cli.board import check_board, describe_memory, has_c, memory, on_board
from tmkt.cli.nir import NirOptions, run_nir_export
from tmkt.cli.options import JsonOption
from tmkt.cli.places import ForceOption
from tmkt.cli.steps import run_export, run_qat
from tmkt.cli.tables.export import print_board, print_export
from tmkt.deploy.report import quantisation
from tmkt.errors import InputError

app = typer.Typer(rich_markup_mode=None)


def _nir(name: str, text: str) -> Any:
    return typer.Option(name, help=f"FILE.nir: {text}", show_default=False)


@app.command(
    epilog=(
        "Example: tmkt export runs/nmnist --target all --out bundles/nmnist; tmkt export"
        " runs/nmnist --target c --bits 4 --board cortex-m4"
    )
)
def export(
    network: Annotated[
        Path, typer.Argument(help="A finished run, or a .nir file of any framework.")
    ],
    target: Annotated[
        str, typer.Option("--target", help="all, or a list of lava, nir, onnx, c with commas.")
    ] = "all",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder to write the bundle to [bundles/NAME].", show_default=False
        ),
    ] = None,
    bits: Annotated[
        str | None,
        typer.Option(
            "--bits",
            help=(
                "Bits of a weight, 2 to 8: 4, or 8,4,4,8, or 4,readout=8; of a .nir file also none"
                " [8]."
            ),
            show_default=False,
        ),
    ] = None,
    finetune: Annotated[
        int,
        typer.Option(
            "--finetune",
            min=0,
            help="Steps of training on integers first, on the run's own recordings.",
        ),
    ] = 0,
    dt: Annotated[float | None, _nir("--dt", "Time step in seconds [what the file tells].")] = None,
    fires_at: Annotated[
        str | None,
        _nir("--fires-at", "a spike where v '>' threshold (NIR's rule), or '>=' (SpikingJelly's)."),
    ] = None,
    reset: Annotated[
        str | None, _nir("--reset", "hard (NIR's), or soft, which is refused.")
    ] = None,
    inputs: Annotated[
        str | None,
        _nir(
            "--inputs",
            "per-second (NIR's), or per-step: inputs of IF and CubaLIF count whole (Norse).",
        ),
    ] = None,
    decay: Annotated[
        str | None,
        _nir(
            "--decay",
            "euler: dt / tau a step, or exponential: 1 - exp(-dt / tau) (Sinabs).",
        ),
    ] = None,
    sensor: Annotated[
        str | None, _nir("--sensor", "WIDTHxHEIGHT of events, where the network's input is flat.")
    ] = None,
    dataset: Annotated[
        str | None,
        _nir(
            "--dataset",
            "Data set that it answers to: its classes, its recordings; spikes for a network that"
            " reads channels, not a camera [folders].",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        _nir("--data", "Recordings to calibrate the integers on.  [required but for --bits none]"),
    ] = None,
    bins: Annotated[int | None, _nir("--bins", "Time steps of a recording.  [required]")] = None,
    bin_us: Annotated[
        int | None, _nir("--bin-us", "Microseconds of a time step.  [required]")
    ] = None,
    max_count: Annotated[
        int | None, _nir("--max-count", "Most events counted at a pixel in a step [1].")
    ] = None,
    allow_silent: Annotated[
        bool,
        typer.Option("--allow-silent", help="Export a network that is dead from its first layer."),
    ] = False,
    board: Annotated[
        str | None,
        typer.Option(
            "--board",
            help=(
                "Also run the C on a bare board in QEMU, on the calibration recordings: cortex-m0,"
                " cortex-m4, cortex-m7, cortex-m55 or rv32; prints its instructions and memory."
            ),
            show_default=False,
        ),
    ] = None,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Quantise a network: write a bundle, the integer program and files for other programs."""
    options = NirOptions(
        dt=dt,
        fires_at=fires_at,
        reset=reset,
        inputs=inputs,
        decay=decay,
        sensor=sensor,
        dataset=dataset,
        data=data,
        bins=bins,
        bin_us=bin_us,
        max_count=max_count,
    )
    reading = None
    if board is not None:
        check_board(board, target)
    if network.suffix == ".nir" or network.is_file():
        path = out or Path("bundles") / network.stem
        if finetune:
            raise InputError(f"{network}: --finetune given, which is for runs; leave it out")
        bundle, reading, cut, calibration = run_nir_export(
            network,
            path,
            target,
            None if bits == "none" else bits or "8",
            options,
            allow_silent=allow_silent,
            force=force,
        )
    else:
        from tmkt.runs import load_run

        if options.words or bits == "none":
            found = next(iter(options.words), "--bits none")
            raise InputError(
                f"{network}: {found} given, which is for .nir files; leave it out, or give a file"
                " that ends in .nir"
            )
        path = out or Path("bundles") / network.resolve().name
        if finetune:
            trained = path.with_name(path.name + "-run")
            run_qat(
                network,
                bits or "8",
                settings=[f"train.steps={finetune}", "qat.transfer=0"],
                data=None,
                static=None,
                out=trained,
                resume=True,
            )  # goes on where it was cut off
            network, bits = trained, None
        bundle = run_export(network, path, target, bits, allow_silent=allow_silent, force=force)
        run = load_run(network)
        cut, calibration = run.describe_cut(), run.load_calibration()
    boarded = None
    if board is not None:
        if calibration is None:
            raise InputError(
                f"{network}: --board and --bits none, expected recordings to run; leave one out"
            )
        boarded = on_board(bundle, board, calibration)
    quantised = bundle.manifest["quantisation"]
    warnings = [*([cut] if cut else []), *quantisation.warnings(quantised)]
    if json:
        kept = {key: bundle.manifest[key] for key in ("files", "quantisation", "ranges")}
        report: dict[str, Any] = {"bundle": str(path), **kept}
        report |= {"c": memory(bundle)} if has_c(bundle) else {}
        report |= {"reading": reading} if reading else {}
        console.emit_json(report | ({"board": boarded} if boarded else {}))
        for line in warnings:
            console.note(line)
        return
    print_export(network, bundle, reading)
    if has_c(bundle):
        console.note(describe_memory(bundle))
    if boarded:
        print_board(boarded)
    if "loihi.net" not in bundle.manifest["files"] and ("lava" in target or "all" in target):
        console.note(
            "No loihi.net: Lava's netx holds chains of layers only. The engine lava builds this"
            " network from the program"
        )
    for line in warnings:
        console.note(line)
    console.note("Next:", f"tmkt parity {quote(str(path))} --data DIR")
