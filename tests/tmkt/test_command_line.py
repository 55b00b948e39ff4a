"""Tests of what all commands share: help, suggestions, loudness, completion. Run in this process,
so that all of them together take a second.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from tmkt import cli, console

SHELLS = {
    "bash": {"COMP_WORDS": "tmkt train nm", "COMP_CWORD": "2"},
    "zsh": {"_TYPER_COMPLETE_ARGS": "tmkt train nm"},
    "fish": {"_TYPER_COMPLETE_ARGS": "tmkt train nm", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}


def commands(command: object, words: tuple[str, ...] = ()) -> Iterator[str]:
    """The names of all commands, groups left out."""
    if not hasattr(command, "commands"):
        yield " ".join(words)
        return
    for name, inner in command.commands.items():
        yield from commands(inner, (*words, name))


@pytest.fixture(autouse=True)
def _quiet_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "quiet", False)
    monkeypatch.setattr(console, "command_line", False)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tmkt", *arguments])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return int(left.value.code or 0)


@pytest.mark.parametrize("command", list(commands(typer.main.get_command(cli.app))))
def test_every_command_has_help_with_an_example_of_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert run(monkeypatch, *command.split(), "--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Example: tmkt {command}" in shown


@pytest.mark.parametrize("group", ["", "data", "recipes", "zoo"])
def test_a_group_has_whole_summaries_and_an_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], group: str
) -> None:
    assert run(monkeypatch, *group.split(), "--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "..." not in shown.replace("COMMAND [ARGS]...", "")
    assert f"Example: tmkt {group} " in shown or "Start with: tmkt demo" in shown
    inside = typer.main.get_command(cli.app)
    for command in (inside.commands[group] if group else inside).commands.values():
        assert command.help.split("\n\n")[0].replace("\n", " ").partition(". ")[0] in shown


def test_the_help_has_the_exit_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert "Exit codes: 0 done; 1 a check failed" in shown
    assert "130 interrupted (Ctrl-C); 141 nobody reads the output any more" in shown


@pytest.mark.parametrize("command", ["evaluate", "parity", "energy"])
def test_an_option_that_must_be_given_is_marked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    run(monkeypatch, command, "--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert "--data <path> Folder of the event recordings. [required]" in shown


def test_a_closed_pipe_is_no_failed_check() -> None:
    command = f"{shlex.quote(sys.executable)} -m tmkt recipes show digits --all"
    done = subprocess.run(
        ["bash", "-c", f"{command} | true; echo ${{PIPESTATUS[0]}}"], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("141\n", "")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("trian", "Did you mean 'train'?; see: tmkt --help"),
        ("data lst", "Did you mean 'list'?; see: tmkt data --help"),
        (
            "train digits --dat x",
            "No such option: --dat; did you mean '--data'?; see: tmkt train --help",
        ),
        (
            "evaluate x --split=test --engin onnx",
            "did you mean '--engine'?; see: tmkt evaluate --help",
        ),
        ("train digitz", "did you mean 'digits'?"),
        ("fit digits --device loihi3", "did you mean 'loihi2'?"),
        ("doctor --quiet --verbose", "--quiet and --verbose"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest_right_one(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    expected: str,
) -> None:
    assert run(monkeypatch, *arguments.split()) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert expected in shown.err.splitlines()[-2 if "--verbose" in arguments else -1]


def test_quiet_leaves_the_results(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(monkeypatch, "data", "list", str(tmp_path), "--quiet") == 0
    quiet = capsys.readouterr()
    assert run(monkeypatch, "data", "list", str(tmp_path)) == 0
    usual = capsys.readouterr()
    assert quiet.out == usual.out != ""
    assert quiet.err == "" != usual.err
    monkeypatch.setenv("RANK", "1")  # the second of torchrun's processes
    assert run(monkeypatch, "data", "list", str(tmp_path)) == 0
    assert capsys.readouterr().err == ""
    assert run(monkeypatch, "train", "nothing") == 2
    assert capsys.readouterr().err.startswith("tmkt: recipe 'nothing'")


def test_verbose_says_where_an_error_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "train", "nothing", "--verbose") == 2
    shown = capsys.readouterr().err.splitlines()
    assert shown[0].startswith("Traceback")
    assert shown[-2].startswith("tmkt: recipe 'nothing'")
    assert shown[-1].startswith("tmkt 0.")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_completes_recipes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shell: str
) -> None:
    for name, value in {**SHELLS[shell], "_TMKT_COMPLETE": f"complete_{shell}"}.items():
        monkeypatch.setitem(os.environ, name, value)
    run(monkeypatch)
    shown = capsys.readouterr().out
    assert "nmnist-fewshot" in shown
    assert "digits" not in shown


def test_recipes_say_what_they_train_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "recipes", "list") == 0
    rows = {
        line.split("│")[0].strip(): line
        for line in capsys.readouterr().out.splitlines()
        if "│" in line
    }
    assert "5 a class" in rows["nmnist-fewshot"]
    assert "published split" in rows["ncaltech101-kt"]


def test_the_doctor_finds_data_sets(monkeypatch: pytest.MonkeyPatch, shared_data: Path) -> None:
    from tmkt.deploy.doctor import examine

    def finding() -> dict[str, object]:
        return {**next(f for f in examine() if f["part"] == "data sets")}

    monkeypatch.setenv("TMKT_DATA", str(shared_data))
    assert "nmnist" in str(finding()["found"])
    monkeypatch.setenv("TMKT_DATA", str(shared_data / "recordings"))
    assert finding()["found"] is None
    assert "tmkt data fetch" in str(finding()["advice"])


def test_names_from_strangers_cannot_command_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    evil = tmp_path / "set" / "cat\x1b]0;owned\x07" / "\x9b31m\u202e.npy"
    evil.parent.mkdir(parents=True)
    evil.write_bytes(b"no recording")
    assert run(monkeypatch, "data", "info", str(evil)) == 2
    assert run(monkeypatch, "data", "info", str(evil), "--verbose") == 2
    assert run(monkeypatch, "data", "check", str(tmp_path / "set")) != 0
    assert run(monkeypatch, "export", str(tmp_path / "\x1bc"), "--bits", "\x1bc") == 2
    shown = "".join(capsys.readouterr())
    assert r"cat\x1b]0;owned\x07" in shown
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)
