"""Run notebooks from top to bottom, in a folder that is thrown away: make notebooks.

python tests/notebooks/execute.py docs/notebooks/*.ipynb     keeps the new outputs in the files
"""

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tmkt.files import writing

TIMEOUT_S = 300  # of a cell
WIDTH = "80"  # of tables, as on a narrow terminal
BOLD = re.compile(r"\x1b\[[0-9;]*m")  # Jupyter makes programs think that they write on a terminal
# What comes on some machines or in a first run alone: notes on compiling, and torch's on GPUs.
NOISE = re.compile(r"^Compiling inner loops.*?\.\.\.\n|^W\d{4} [^\n]*Triton[^\n]*\n", re.M | re.S)


def execute(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Run a notebook in a kernel of its own; give it with its outputs. Nothing is written.

    Raises nbclient's CellExecutionError for a cell that fails.
    """
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
    ).execute(env=environment())
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = None  # which would be a change in each diff
            cell.outputs = [kept for output in cell.outputs if (kept := without_noise(output))]
    return notebook


def environment() -> dict[str, str]:
    """Let %%bash find this installation's tmkt."""
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": paths, "COLUMNS": WIDTH}


def without_noise(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """Leave out what differs between a first and a later run."""
    if output.output_type == "stream":
        output.text = NOISE.sub("", BOLD.sub("", output.text))
        return output if output.text else None
    output.pop("execution_count", None)
    if output.output_type == "execute_result":
        output.execution_count = None
    return output


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", type=Path, nargs="+")
    for path in parser.parse_args().notebooks:
        print(path, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(path, Path(folder))
        with writing(path) as beside:
            text = nbformat.writes(notebook, indent=1)
            beside.write_text(text + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
