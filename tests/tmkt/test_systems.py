"""Needs of other systems than Linux: no module that they lack is imported where it is not asked
for, and files have the same bytes there.

The tests run anywhere; they read the code instead of another system.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tmkt.readers.camera_file import CAMERA, read_camera
from tmkt.recipe import load_recipe

ROOT = Path(__file__).parents[2]
CODE = [
    path for room in ("tmkt", "train", "export", "deploy") for path in (ROOT / room).rglob("*.py")
]
POSIX = {"fcntl", "grp", "pty", "pwd", "resource", "termios"}


def calls(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node


def writes_text(call: ast.Call) -> bool:
    name = getattr(call.func, "attr", getattr(call.func, "id", None))
    if name == "write_text":
        return True
    modes = [word.value for word in call.args if isinstance(word, ast.Constant)]
    text_modes = {"w", "a", "x", "wt", "at", "r+", "w+"}
    of_archive = isinstance(call.func, ast.Attribute) and ast.unparse(call.func) == "archive.open"
    return name == "open" and not of_archive and bool(text_modes & {*map(str, modes)})


def test_text_is_written_with_the_same_bytes_on_every_system() -> None:
    """Windows would write its own line ends, in its own encoding."""
    found = [(path, call) for path in CODE for call in calls(path) if writes_text(call)]
    assert len(found) > 15
    for path, call in found:
        said = {word.arg for word in call.keywords}
        assert {"encoding", "newline"} <= said, f"{path}:{call.lineno}: {ast.unparse(call)}"


def test_nothing_that_windows_lacks_is_imported_at_the_top() -> None:
    for path in (*CODE, *(ROOT / "tests").rglob("*.py")):
        if path.is_relative_to(ROOT / "tests" / "bench"):
            continue
        skips = False
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            skips |= "allow_module_level" in ast.unparse(node)
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert skips or not POSIX & set(names), f"{path}:{node.lineno}"


def test_the_command_line_starts_without_what_windows_lacks() -> None:
    script = (
        "import sys\n"
        f"sys.modules |= dict.fromkeys({sorted(POSIX)!r})\n"
        "from tmkt.__main__ import main\n"
        "sys.argv = ['tmkt', '--verbose', 'zoo', 'list']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "MB at the peak" not in done.stderr


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_files_of_users_may_have_windows_line_ends(tmp_path: Path, end: str) -> None:
    (tmp_path / CAMERA).write_bytes(end.join(("width = 12", "height = 34", "")).encode())
    assert read_camera(tmp_path).sensor == (34, 12)
    recipe = (ROOT / "train" / "recipes" / "digits.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_bytes(recipe.replace("\n", end).encode())
    assert load_recipe(str(tmp_path / "mine.toml"), tmp_path) == load_recipe(
        "digits", ROOT / "train" / "recipes"
    )
