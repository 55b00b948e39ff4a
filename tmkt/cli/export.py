"""tmkt export."""

from pathlib import Path
from typing import Annotated

import typer

from tmkt import console
from tmkt.cli.options import JsonOption
from tmkt.cli.steps import run_export

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog="Example: tmkt export runs/nmnist --target all --out bundles/nmnist")
def export(
    run: Annotated[Path, typer.Argument(help="A finished run.")],
    target: Annotated[str, typer.Option("--target", help="all, or a list of lava, nir, onnx, c with commas.")] = "all",
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write the bundle to [bundles/RUN].", show_default=False)] = None,
    bits: Annotated[int, typer.Option("--bits", min=2, max=8, help="Bits of a weight.")] = 8,
    precision: Annotated[str, typer.Option("--precision", help="integer, or float: the float network as ONNX, too.")] = "integer",
    json: JsonOption = False,
) -> None:
    """Quantise a run: a bundle with the integer program and the files that other programs read."""
    path = out or Path("bundles") / run.resolve().name
    bundle = run_export(run, path, target, bits, precision)
    if json:
        console.emit_json({"bundle": str(path), "files": bundle.manifest["files"], "quantisation": bundle.manifest["quantisation"]})
        return
    report = bundle.manifest["quantisation"]
    console.table("Quantisation", list(report[0]), [[f"{v:.3g}" if isinstance(v, float) else v for v in row.values()] for row in report])
    console.table(f"Bundle {path}", ["file", "bytes"], [[name, entry["bytes"]] for name, entry in bundle.manifest["files"].items()])
    console.note(f"Next: tmkt parity {path} --data DIR")
