"""Everything that README.md and docs/ tell a reader to type is typed here: docs/contributing.md
says how ("Documents").

Each document has a folder of its own, with the recordings in `data` and a trained run and its
bundle, and its commands run there in order.
"""

import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from subprocess import run as run_process
from typing import Any

import numpy as np
import pytest
import typer

from tmkt import cli, console

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
STANDS_FOR = {
    "BUNDLE": "bundles/nmnist",
    "RUN": "runs/nmnist",
    "DIR": "data/nmnist",
    "SOURCE": "recording.aedat4",
    "RECIPE": "nmnist-fewshot",
}
TYPED_FIRST = (
    "tmkt init",
    "tmkt train",
    "tmkt export",
)  # of the README: what they make is there for all documents
# What makes a command small: given after what is written, and the last one counts.
TRAINING = ["--set", "train.steps=2", "--set", "train.batch=4", "--set", "train.threads=1"]
TRIALS = ["--trials", "2", "--seeds", "1"]
LIMIT = ["--limit", "3"]
# Needs another machine, another shell, or a network; `tmkt demo` has a test of its own.
NOT_RUN = (
    "udp://",
    " - ",
    "--ray",
    "data fetch",
    "tmkt demo",
    "--install-completion",
    "--show-completion",
)


@dataclass(frozen=True)
class Block:
    """A piece of code of a document: its language, its text, and why it is not run, where the
    document says so in a comment before it.
    """

    language: str
    text: str
    not_run: str | None


def blocks(document: Path) -> Iterator[Block]:
    pattern = r"^(?:<!-- not run: (?P<why>.*?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```"
    for found in re.finditer(pattern, document.read_text(encoding="utf-8"), re.M | re.S):
        yield Block(found["language"], found["text"], found["why"])


def lines(document: Path) -> Iterator[tuple[str, bool]]:
    """The commands of a document's blocks without what is explained beside them, and whether they
    are run.
    """
    for block in blocks(document):
        if block.language in ("", "sh", "bash"):
            for line in block.text.splitlines():
                command = re.split(r"\s{3,}|\s+#", line.strip())[0]
                if re.match(r"(tmkt|make|python|pip|source|torchrun|\S+ \| tmkt) ", command):
                    yield command, block.not_run is None


def mentioned(document: Path) -> set[str]:
    """List the commands that a document's sentences name."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
    return set(re.findall(r"`(tmkt [^`]+)`", text))


def names(paths: list[Path]) -> Any:
    return pytest.mark.parametrize("document", paths, ids=lambda path: path.name)


def known_options(words: list[str]) -> tuple[str, set[str]]:
    """Return the command that words begin with, and its options."""
    command: Any = typer.main.get_command(cli.app)
    found = []
    for word in words:
        if word not in getattr(command, "commands", {}):
            break
        command = command.commands[word]
        found.append(word)
    options = {
        option
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    return " ".join(found), options | {
        "--help",
        "--quiet",
        "--verbose",
        "--version",
        "--install-completion",
        "--show-completion",
    }


@names(DOCUMENTS)
def test_every_command_that_is_named_exists_with_its_options(document: Path) -> None:
    typed = [
        found[1]
        for line, _ in lines(document)
        if (found := re.search(r"(?:^|\| |-m )(tmkt .*)", line))
    ]
    for text in [*mentioned(document), *typed]:
        words = text.split()[1:]
        command, options = known_options(words)
        assert command or words[0].startswith(("-", "...")), f"{text}: no such command"
        unknown = [
            word
            for word in words
            if re.match(r"--?[a-z]", word) and word.split("=")[0] not in options
        ]
        assert not unknown, f"{text}: no such option"


@cache
def help_of(script: str) -> str:
    return run_process(
        [sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


@names(DOCUMENTS)
def test_every_other_command_is_one_that_the_project_has(document: Path) -> None:
    extras = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.M))
    for line, _ in lines(document):
        words = shlex.split(line)
        if words[0] == "make":
            assert (
                run_process(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True).returncode
                == 0
            ), line
        elif words[:2] == ["python", "-c"]:
            compile(words[2], line, "exec")
        elif words[0] == "python" and words[1] != "-m":
            for option in re.findall(r"--[a-z-]+", line):
                assert option in help_of(words[1]), line
        for extra in re.findall(r"[\w.]\[([\w,]+)\]", line):
            assert set(extra.split(",")) <= extras, line


@names(DOCUMENTS)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(
        r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    ):
        path, _, anchor = target.partition("#")
        if ":" in path:
            continue
        file = document.parent / path if path else document
        assert file.exists(), f"{document.name}: {target}"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.M)
            assert anchor in {
                re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles
            }, f"{document.name}: {target}"


def test_every_document_is_linked_from_another() -> None:
    linked = {
        path
        for document in DOCUMENTS
        for path in re.findall(r"(\w[\w-]*\.md)", document.read_text(encoding="utf-8"))
    }
    assert {document.name for document in DOCUMENTS[1:]} <= linked


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """Make a folder with a run and a bundle, by the first commands of the README."""
    place = folder(tmp_path_factory.mktemp("trained") / "here", shared_data)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for command, _ in lines(DOCUMENTS[0]):
            if command.startswith(TYPED_FIRST):
                type_in(command)
    return place


def folder(place: Path, shared_data: Path) -> Path:
    """Make a reader's folder: `data` and `../shared/data`, a recording, a device file."""
    place.mkdir(parents=True)
    (place.parent / "shared").mkdir()
    (place.parent / "shared" / "data").symlink_to(shared_data)
    (place / "data").symlink_to(shared_data)
    (place / "recording.bin").symlink_to(
        next((shared_data / "nmnist" / "Test" / "3").glob("*.bin"))
    )
    (place / "recording.aedat4").symlink_to(shared_data / "recordings" / "davis346_170ms.aedat4")
    (place / "braille.nir").symlink_to(ROOT / "tests" / "golden" / "nir-paper" / "braille.nir")
    (place / "trains").mkdir()
    spikes = (np.random.default_rng(0).random((21, 30, 12)) < 0.3).astype(np.uint8)
    np.savez(place / "trains" / "trains.npz", spikes=spikes, labels=np.arange(21) % 7)
    (place / "mine.toml").write_text((ROOT / "deploy" / "devices" / "loihi2.toml").read_text())
    return place


@pytest.fixture
def place(
    tmp_path: Path, trained: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    made = folder(tmp_path / "here", shared_data)
    for kind in ("runs", "bundles"):
        (made / kind).mkdir()
        for path in (trained / kind).iterdir():
            (made / kind / path.name).symlink_to(path)
        for name in ("a", "b"):
            (made / kind / name).symlink_to(trained / kind / "nmnist")
    (made / "theirs.nir").symlink_to(trained / "bundles" / "nmnist" / "network.nir")
    monkeypatch.chdir(made)
    monkeypatch.setenv("TMKT_CACHE", "")
    monkeypatch.setattr(console, "quiet", True)
    return made


def type_in(text: str) -> None:
    """Runs a `tmkt` command in this process, made smaller; it must end well."""
    words = [STANDS_FOR.get(word, word) for word in shlex.split(text)[1:]]
    command, options = known_options(words)
    words = words[: words.index(">")] if ">" in words else words
    if "--out" in words and "--resume" not in words:
        remove(Path(words[words.index("--out") + 1]))
    small = {"train": TRAINING, "tune": [*TRAINING, *TRIALS]}
    words += small.get(command, LIMIT if "--limit" in options else [])
    assert cli.app(["--quiet", *words], prog_name="tmkt", standalone_mode=False) in (0, None), text


def remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)


@names(
    [
        document
        for document in DOCUMENTS
        if any(line.startswith("tmkt ") for line, run in lines(document) if run)
    ]
)
@pytest.mark.usefixtures("place")
def test_commands_do_what_the_document_says(document: Path) -> None:
    for line, is_run in lines(document):
        done = document == DOCUMENTS[0] and line.startswith(TYPED_FIRST)
        if (
            is_run
            and not done
            and line.startswith("tmkt ")
            and not any(part in f"{line} " for part in NOT_RUN)
        ):
            print(line)
            type_in(line)


@names(
    [
        document
        for document in DOCUMENTS
        if any(block.language == "python" for block in blocks(document))
    ]
)
def test_python_of_documents_can_be_imported(document: Path) -> None:
    for block in blocks(document):
        if block.language == "python" and block.not_run is None:
            code = compile(block.text, document.name, "exec")
            imports = "\n".join(
                line for line in block.text.splitlines() if re.match(r"(from|import) ", line)
            )
            assert code
            exec(imports, {})


@pytest.mark.usefixtures("place")
def test_the_notebook_prints_what_its_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    """But for the figures, which are those of a longer training."""
    pytest.importorskip("matplotlib")
    world: dict[str, Any] = {}
    shown = [*blocks(ROOT / "docs" / "python.md"), Block("", "", None)]
    capsys.readouterr()
    for block, after in pairwise(shown):
        if block.language == "python":
            exec(compile(block.text, "python.md", "exec"), world)
            expected = after.text if after.language == "text" else ""
            assert without_figures(capsys.readouterr().out) == without_figures(expected)


def without_figures(text: str) -> str:
    return re.sub(r"\d+(\.\d+)?(e[-+]?\d+)?", "#", text)
