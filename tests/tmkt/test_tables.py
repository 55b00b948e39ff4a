"""Tables on a terminal of 80 columns: no word is broken, no line is longer."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tmkt import cli, console
from tmkt.cli.tables.evaluation import print_evaluation
from tmkt.cli.tables.stream import decision_table
from tmkt.cli.tables.table import table
from tmkt.cli.tables.tune import print_search
from tmkt.deploy.report.faults import fault_rows
from tmkt.train.tune.results import Outcome
from tmkt.train.tune.search import Found

COLUMNS = 80
WIDE = 1000
COMMANDS = (
    "evaluate {bundle} --data {data} --limit 3",
    "parity {bundle} --data {data} --limit 3 --max-drop 100",
    "fit {bundle} --data {data} --limit 3",
    "fit {bundle} --device loihi1",
    "fit ncaltech101-kt --device loihi1",
    "energy {bundle} --device loihi1 --device loihi2 --data {data} --limit 3",
    "energy {bundle} --device loihi1 --device loihi2 --data {data} --limit 3 --receipts",
    "energy {bundle} {bundle} --data {data} --limit 3 --receipts",
    "export {run} --out {tmp}/bundle",
    "stream {bundle} {recording} --sensor 34x34 --no-times",
    "data info {recording} --sensor 34x34",
    "data check {data} --name digits",
    "data list {data}",
    "recipes list",
    "zoo list",
    "doctor",
)


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "command_line", False)


def shown_at(
    columns: int,
    show: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    show()
    return capsys.readouterr().out


def check(
    show: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Check what is shown at 80 columns; give it."""
    wide = shown_at(WIDE, show, monkeypatch, capsys)
    narrow = shown_at(COLUMNS, show, monkeypatch, capsys)
    longest = max(narrow.splitlines(), key=len)
    assert len(longest) <= COLUMNS, longest
    broken = {word.rstrip(":,") for word in narrow.split()} - {
        word.rstrip(":,") for word in wide.split()
    }
    frame = set("┃━╇│┏┡└┌─┐┘┓┩")
    left_out = {"Left", "out", "for", "want", "of", "room", "see", "--json"}
    measured = {word for word in broken if word.replace(".", "").isdigit()}  # times of this run
    assert {word for word in broken if not set(word) <= frame} - left_out - measured == set()
    return narrow


@pytest.mark.parametrize("command", COMMANDS)
def test_no_word_of_a_table_is_broken(
    command: str,
    pipeline: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("data", "run", "bundle"):
        (tmp_path / name).symlink_to(getattr(pipeline, name))
    recording = min((pipeline.data / "Train" / "3").iterdir()).name
    places = {name: name for name in ("data", "run", "bundle")}
    places |= {"tmp": "out", "recording": f"data/Train/3/{recording}"}
    words = command.format(**places).split()

    def show() -> None:
        monkeypatch.setattr(sys, "argv", ["tmkt", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert left.value.code in (None, 0, 1)

    assert check(show, monkeypatch, capsys)


def test_a_confusion_matrix_that_is_too_wide_is_a_list_of_pairs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = [f"class-{i}" for i in range(101)]
    confusion = [[9 if i == j else 0 for j in range(101)] for i in range(101)]
    confusion[7][11] = 3
    report = {
        "bundle": "b",
        "engine": "simulator",
        "samples": 912,
        "split": "test",
        "accuracy": 0.997,
        "accuracy_ci95": [0.99, 0.999],
        "spikes_per_sample": 1.0,
        "synops_per_sample": 1.0,
        "neuron_updates_per_sample": 1.0,
        "seconds_per_sample": 0.001,
        "faults": {"current_wraps": 2, "membrane_clips": 0, "readout_over_threshold": 0},
        "classes": classes,
        "classes_tested": classes[:3],
        "confusion": confusion,
    }
    shown = check(lambda: print_evaluation(report), monkeypatch, capsys)
    assert "Confused most, 1 of 1 pairs (--json has the confusion matrix)" in shown
    row = next(line for line in shown.splitlines() if line.startswith("class-7 "))
    assert [cell.strip() for cell in row.split("│")] == ["class-7", "class-11", "3"]
    assert "2 times a current left its 24 bits and wrapped around (current wraps)" in " ".join(
        word for word in shown.split() if word != "│"
    )


def test_a_sound_program_has_one_line_on_the_ranges_of_a_chip() -> None:
    nothing = {"current_wraps": 0, "membrane_clips": 0, "readout_over_threshold": 0}
    assert fault_rows(nothing) == [["beyond the chip's ranges", "never"]]
    assert fault_rows(None) == []  # the float network has no ranges


def test_a_search_over_many_keys_is_stacked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = [f"method.key_{i}" for i in range(9)]
    trial = Outcome(0, True, 0.5, [0.5], 1.25, 1.0, "", dict.fromkeys(keys, "0.25"))
    found = Found(dict.fromkeys(keys), [trial], [trial], None, 20, False)  # type: ignore[arg-type]
    shown = check(lambda: print_search(Path("s"), found), monkeypatch, capsys)
    assert "\n  method.key_8: 0.25\n" in shown


def test_columns_that_matter_least_are_left_out_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[list[object]] = [["a" * 30, 1, "b" * 30, "c" * 30]]
    monkeypatch.setenv("COLUMNS", "80")
    table("t", ["one", "two", "three", "four"], rows, ["four", "two"])
    shown = capsys.readouterr().out
    assert "Left out for want of room, see --json: four" in shown
    assert "a" * 30 in shown
    assert "b" * 30 in shown


def test_words_of_two_cells_a_letter_are_measured_as_a_terminal_shows_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    table("t", ["class", "n"], [["北京北京北京北京北京", 1], ["x", 2]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].startswith("北京北京北京北京北京 │ 1")
    assert lines[4].startswith("x" + " " * 19 + " │ 2")


def test_the_table_of_decisions_fits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    row = ["100.316", "faces_easy", "faces_easy", "11.7", "10", "6,144", "287-569"]
    row += ["187 µJ to 219 µJ", "0.55"]

    def show() -> None:
        Console(width=int(os.environ["COLUMNS"])).print(decision_table("b on r", [row]))

    assert "187 µJ to 219 µJ" in check(show, monkeypatch, capsys)
