"""Hints for what is missing name the place that tmkt came from, as no index has it."""

import re
from pathlib import Path
from typing import Any

import pytest

from tmkt import install

ROOT = Path(__file__).parents[2]


class Installed:
    """An installation and the file that pip wrote about it (PEP 610)."""

    def __init__(self, said: str | None) -> None:
        self.said = said

    def read_text(self, _: str) -> str | None:
        return self.said


@pytest.mark.parametrize(
    ("said", "command"),
    [
        (
            '{"url": "file://%s/a%%20b.whl", "archive_info": {}}',
            "pip install '%s/a b.whl[x]'",
        ),
        ('{"url": "file://%s", "dir_info": {}}', "pip install '%s[x]'"),
        ('{"url": "file://%s", "dir_info": {"editable": true}}', "pip install -e '%s[x]'"),
    ],
)
def test_the_hint_installs_from_where_tmkt_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, command: str
) -> None:
    (tmp_path / "a b.whl").touch()
    found = [Installed(None), Installed(said % tmp_path)]  # a checkout's own comes first
    monkeypatch.setattr("importlib.metadata.distributions", lambda name: iter(found))  # noqa: ARG005
    assert install.pip_install("x") == f"run: {command % tmp_path}"


@pytest.mark.parametrize(
    "said",
    [None, "[1]", "{", '{"url": "https://example.org/a.whl"}', '{"url": "file:///nowhere/a.whl"}'],
)
def test_without_that_place_the_hint_names_the_checkout_and_the_page(
    monkeypatch: pytest.MonkeyPatch, said: Any
) -> None:
    monkeypatch.setattr("importlib.metadata.distributions", lambda name: iter([Installed(said)]))  # noqa: ARG005
    assert install.pip_install("x").startswith("run in tmkt's checkout: pip install '.[x]', or")
    assert "docs/install.md" in install.pip_install()


def test_no_line_promises_an_index_that_has_tmkt() -> None:
    places = ("tmkt", "train", "export", "deploy", "docs")
    files = [path for place in places for path in (ROOT / place).rglob("*") if path.is_file()]
    for path in [ROOT / "README.md", *(f for f in files if f.suffix in (".py", ".md", ".html"))]:
        assert not re.search(r"pip install (-U )?'?tmkt(\[|\b(?!-))", path.read_text()), path
