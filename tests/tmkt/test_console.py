"""Output of the command line."""

import json
import re
from pathlib import Path

import pytest

from tmkt import console
from tmkt.cli.tables.table import table

EVIL = "a\x1b[31m\x9bb\x07\n\u202ec\x7f"
SHOWN = r"a\x1b[31m\x9bb\x07\n\u202ec\x7f"


def test_brackets_in_a_table_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    table("[title]", ["what"], [["pip install 'tmkt[lava]'"], [None]])
    shown = capsys.readouterr().out
    assert "pip install 'tmkt[lava]'" in shown
    assert "[title]" in shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(2.0, "2 J"), (1.75e-4, "175 µJ"), (6.1e-8, "61 nJ"), (3e-12, "3 pJ"), (None, None)],
)
def test_joules_have_a_prefix(value: float | None, shown: str | None) -> None:
    assert console.joules(value) == shown


def test_an_error_is_one_line_whatever_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    console.error("two\nlines")
    assert capsys.readouterr().err == "tmkt: two lines\n"


def test_control_characters_are_shown_and_never_sent_to_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.error(EVIL)
    console.note(EVIL)
    console.say(EVIL)
    table(EVIL, [EVIL], [[EVIL]])
    out, err = capsys.readouterr()
    assert err == f"tmkt: {SHOWN.replace(chr(92) + 'n', ' ')}\n{SHOWN}\n"
    assert out.count(SHOWN) == 4
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out + err)


def test_json_holds_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{EVIL}\x7f\x85\x9b"
    console.emit_json({name: name})
    out = capsys.readouterr().out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out)
    assert json.loads(out) == {name: name}


def test_letters_of_all_languages_stay_as_they_are() -> None:
    text = "µJ, Zürich, 北京, עברית, 👩\u200d🔬 [x]"
    assert console.printable(text) == text


def test_commands_print_through_the_console_alone() -> None:
    root = Path(console.__file__).parent
    printing = [
        path.relative_to(root).as_posix()
        for path in sorted(root.rglob("*.py"))
        if re.search(r"(?<![\w.])print\(", path.read_text(encoding="utf-8"))
    ]
    assert printing == ["__main__.py", "cli/root.py", "console.py"]


def test_what_an_output_cannot_show_is_spelt_out() -> None:
    shown = "175 µJ … 3 × 3, Ω".encode("ascii", console.SPELT_OUT)
    assert shown == b"175 uJ ... 3 x 3, \\u03a9"


def test_an_energy_has_its_interval_in_the_same_unit() -> None:
    figures = {"energy_j": 6.62e-7, "low_j": 1.99e-7, "high_j": 5.96e-6}
    assert console.joules_with_interval(figures) == "662 nJ (199-5,960)"


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (250.4, 2, "250"),
        (99.96, 2, "100"),
        (1949.6, 3, "1,950"),
        (0.01234, 3, "0.0123"),
        (7, 3, "7"),
    ],
)
def test_numbers_of_people_have_no_exponent(value: float, digits: int, shown: str) -> None:
    assert console.significant(value, digits) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(8.4, "8 s"), (99, "99 s"), (150, "2 min")])
def test_a_time_is_short(seconds: float, shown: str) -> None:
    assert console.duration(seconds) == shown


def test_notes_are_wrapped_on_a_terminal_and_commands_stay_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = f"tmkt train {'very-long/' * 8}cards.toml --out runs/cards"
    console.note("one note " * 20)
    console.note("Next:", command)
    assert len(capsys.readouterr().err.splitlines()) == 2  # no terminal: one line each
    monkeypatch.setenv("COLUMNS", "80")
    console.note("one note " * 20)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= 80
    console.note("Next:", command)
    assert capsys.readouterr().err == f"Next:\n  {command}\n"
    console.note("Next:", "tmkt train cards.toml")
    assert capsys.readouterr().err == "Next: tmkt train cards.toml\n"
