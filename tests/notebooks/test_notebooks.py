"""The notebooks run from top to bottom, and show what is kept in them.

Figures are those of the machine that kept them: a training may end elsewhere on another one.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from execute import execute

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"
UNTRAINED = ("energy",)  # those that train nothing: all words are the same on each machine


def shown(notebook: Any) -> list[list[str]]:
    """List the kinds of what each cell of code shows."""
    return [
        [output.get("name") or " ".join(sorted(output["data"])) for output in cell["outputs"]]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


def words(notebook: Any) -> str:
    printed = [
        "".join(output["text"])
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if "text" in output
    ]
    return re.sub(r"[\d.]+|\s+", " ", "".join(printed))


@pytest.mark.skipif(sys.platform == "win32", reason="cells of %%bash need bash")
@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_is_kept(path: Path, tmp_path: Path) -> None:
    kept = json.loads(path.read_text(encoding="utf-8"))
    found = execute(path, tmp_path)
    assert shown(found) == shown(kept)
    if path.stem in UNTRAINED:
        assert words(found) == words(kept)


def test_what_differs_between_machines_is_not_kept() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        assert "\x1b" not in text
        assert "\\u001b" not in text
        assert str(Path.home()) not in text
        assert "Compiling inner loops" not in text
