import csv
import json
import math
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from example_sessions import write_session

from tmkt.cli.tables.tune import print_search
from tmkt.datasets.digits import simulate_digits
from tmkt.datasets.protocols import split_recordings
from tmkt.datasets.registry import dataset
from tmkt.errors import InputError
from tmkt.recipe import load_recipe
from tmkt.train import RECIPES, run_folder, trainer
from tmkt.train.measure import measure
from tmkt.train.trainer import train
from tmkt.train.tune.results import outcomes
from tmkt.train.tune.search import Found, importance, tune
from tmkt.train.tune.space import parse_search
from tmkt.train.tune.storage import TRIALS as TRIALS_FOLDER
from tmkt.train.tune.storage import WORKER, open_storage
from tmkt.train.tune.trials import Search

RECIPE = """
data = {name = "digits", shots = 2, validation = 2.0, bins = 4, bin_us = 79000}
network = {channels = [8, 16], strides = [2, 1], pools = [2, 2]}
method = {name = "tmkt"}
train = {steps = 24, batch = 10, warmup_steps = 2, threads = 1}
"""
EPOCHS = 12
SEARCHES = [
    "train.learning_rate=1e-3..0.1",
    "network.threshold=0.2..0.5",
    "method.mix_ratio=0.2..0.4",
]
TRIALS = 8
FILES = ("best.toml", "trials.csv", "tune.svg")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "digits"
    simulate_digits(folder, 6, 0)
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE)
    return str(path)


@pytest.fixture(scope="module")
def whole(
    digits: Path, recipe: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Found]:
    """Run a search to its end, in this process."""
    out = tmp_path_factory.mktemp("tune") / "whole"
    return out, tune(Search(recipe, searches=SEARCHES, trials=TRIALS), digits, None, out)


def rows(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "trials.csv").read_text().splitlines()))


def same_files(a: Path, b: Path) -> None:
    for name in FILES:
        assert (a / name).read_text() == (b / name).read_text(), name


def start(recipe: str, digits: Path, out: Path) -> subprocess.Popen[str]:
    words = [
        "tune",
        recipe,
        "--data",
        digits,
        "--out",
        out,
        "--trials",
        TRIALS,
        "--json",
        *(f"--search={text}" for text in SEARCHES),
    ]
    command = [sys.executable, "-m", "tmkt", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_trial(process: subprocess.Popen[str], number: int) -> None:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        # Of a slow trial, lines of progress come first, every ten seconds: "trial 1: 3/24, ...".
        if line.startswith(f"trial {number}: ") and " done, " in line:
            return
    raise AssertionError(said)


def test_the_best_recipe_trains_to_what_its_trial_reached(
    whole: tuple[Path, Found], digits: Path, tmp_path: Path
) -> None:
    out, found = whole
    best = load_recipe(str(out / "best.toml"), RECIPES)
    run = train(best, digits, None, tmp_path / "run")
    last = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ][-1]
    assert (
        last["validation"]
        == found.best[0].accuracy
        == max(o.accuracy for o in found.ended if o.complete)
    )
    assert (
        best.method.mix_ratio
        == best.method.mix_ratio_end
        == float(found.best[0].settings["method.mix_ratio"])
    )
    assert run.info["recordings"] == {"train": 20, "test": 20}
    assert (out / "best.toml").read_text().startswith(f"# The best of {TRIALS} trials")


def test_a_search_that_is_given_more_trials_goes_on_as_if_it_had_them_from_the_start(
    whole: tuple[Path, Found], digits: Path, recipe: str, tmp_path: Path
) -> None:
    said: list[str] = []
    assert (
        len(tune(Search(recipe, searches=SEARCHES, trials=3), digits, None, tmp_path / "s").ended)
        == 3
    )
    tune(
        Search(recipe, searches=SEARCHES, trials=TRIALS), digits, None, tmp_path / "s", said.append
    )
    same_files(tmp_path / "s", whole[0])
    assert [line.split(":")[0] for line in said if line.startswith("trial")] == [
        f"trial {n}" for n in range(4, TRIALS + 1)
    ]
    assert "8/8 done, 0 s left" in said[-1]


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_a_search_that_was_stopped_goes_on_to_the_same_bytes(
    by: signal.Signals, whole: tuple[Path, Found], digits: Path, recipe: str, tmp_path: Path
) -> None:
    out = tmp_path / "s"
    with start(recipe, digits, out) as process:
        wait_for_trial(process, 1)
        process.send_signal(by)
        _, errors = process.communicate(timeout=60)
    if by == signal.SIGINT:
        assert process.returncode == 130, errors
        assert "interrupted" in errors
        assert "go on with the same command" in errors
        assert 1 <= len(rows(out)) < TRIALS  # what was found until then
    assert not list((out / "trials").iterdir()) or by == signal.SIGKILL
    tune(Search(recipe, searches=SEARCHES, trials=TRIALS), digits, None, out)
    same_files(out, whole[0])
    assert not list((out / "trials").iterdir())
    assert not list((out / "workers").iterdir())


def test_processes_share_a_search(digits: Path, recipe: str, tmp_path: Path) -> None:
    out = tmp_path / "s"
    with start(recipe, digits, out) as process:
        wait_for_trial(process, 1)
        said: list[str] = []
        found = tune(
            Search(recipe, searches=SEARCHES, trials=TRIALS), digits, None, out, said.append
        )
        answer, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    here = [line.split(":")[0] for line in said if line.startswith("trial")]
    there = [line.split(":")[0] for line in errors.splitlines() if line.startswith("trial")]
    assert here
    assert sorted([*here, *there, "trial 1"]) == [f"trial {n}" for n in range(1, TRIALS + 1)]
    assert [o.index for o in found.ended] == list(range(TRIALS))
    assert [row["trial"] for row in rows(out)] == [str(n) for n in range(1, TRIALS + 1)]
    report = json.loads(answer)  # each says what all have found
    assert report["best"] == found.best[0].to_json()
    assert report["trials"] == [o.to_json() for o in found.ended]
    assert f"Next: tmkt train {out / 'best.toml'} --data {digits}" in errors


def test_no_network_meets_a_test_recording(
    whole: tuple[Path, Found],
    digits: Path,
    recipe: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same search on other test recordings, with a look at what is measured."""
    parsed = load_recipe(recipe, RECIPES)
    copy = tmp_path / "digits"
    shutil.copytree(digits, copy)
    source = dataset("digits", dataset("digits").class_names(copy))
    split = split_recordings(source, source.find_recordings(copy), parsed.data, parsed.train.seed)
    other = split.train[0].path.read_bytes()
    for recording in split.test:
        recording.path.write_bytes(other)
    measured: list[int] = []

    def look(net: Any, frames: Any, labels: Any, *progress: Any) -> dict[str, Any]:
        measured.append(len(frames))
        return measure(net, frames, labels, *progress)

    for module in (trainer, run_folder):
        monkeypatch.setattr(module, "measure", look)
    found = tune(Search(recipe, searches=SEARCHES, trials=TRIALS), copy, None, tmp_path / "s")
    same_files(tmp_path / "s", whole[0])
    assert len(split.test) == len(split.validation) == 20
    assert len(found.best) < TRIALS  # some were pruned
    looks = sum(math.ceil(EPOCHS * o.share - 1e-9) for o in found.ended)
    assert sorted(measured) == [0] * sum(o.complete for o in found.ended) + [20] * looks


def test_a_trial_behind_the_others_ends_early(whole: tuple[Path, Found]) -> None:
    pruned = [o for o in whole[1].ended if not o.complete]
    assert pruned
    assert all(o.share < 1.0 and o.loss is None and not o.why for o in pruned)
    assert [row["state"] for row in rows(whole[0])].count("pruned") == len(pruned)


def test_a_trial_that_diverges_is_pruned_with_the_reason(
    digits: Path, recipe: str, tmp_path: Path
) -> None:
    found = tune(
        Search(recipe, ["train.steps=6"], ["train.learning_rate=0.005|1e30"], trials=6),
        digits,
        None,
        tmp_path / "s",
    )
    assert {o.why.partition(" at step")[0] for o in found.ended if not o.complete} == {
        "training diverged"
    }
    assert {o.settings["train.learning_rate"] for o in found.best} == {"0.005"}


def test_values_that_do_not_go_together_are_pruned_with_the_reason(
    digits: Path, recipe: str, tmp_path: Path
) -> None:
    searches = ["method.loss=mean|tet", "method.step_weights=fixed|learned"]
    found = tune(
        Search(recipe, ["method.loss=tet", "train.steps=1"], searches, trials=10),
        digits,
        None,
        tmp_path / "s",
    )
    for o in found.ended:
        together = (o.settings["method.loss"], o.settings["method.step_weights"]) != (
            "mean",
            "learned",
        )
        assert o.complete == together
        assert together or "step_weights = learned needs loss = tet" in o.why
    assert len(found.best) < len(found.ended)


def test_seeds_are_trained_on_the_same_recordings_and_their_mean_counts(
    digits: Path, recipe: str, tmp_path: Path
) -> None:
    search = Search(recipe, ["train.steps=8"], ["train.shift=0..2"], trials=1, seeds=2)
    found = tune(search, digits, None, tmp_path / "s")
    assert len(found.best[0].accuracies) == 2
    assert found.best[0].accuracy == pytest.approx(np.mean(found.best[0].accuracies))
    assert found.best[0].settings["train.shift"] in ("0", "1", "2")


def test_without_a_validation_part_one_is_taken_and_said(
    digits: Path, recipe: str, tmp_path: Path
) -> None:
    said: list[str] = []
    found = tune(
        Search(recipe, ["data.validation=0.0", "train.steps=4"], trials=1),
        digits,
        None,
        tmp_path / "s",
        said.append,
    )
    assert found.validation == 10
    assert "data.validation=0.1" in said[0]
    assert load_recipe(str(tmp_path / "s" / "best.toml"), RECIPES).data.validation == 0.1


def test_another_search_does_not_get_into_a_folder(
    whole: tuple[Path, Found], digits: Path, recipe: str, tmp_path: Path
) -> None:
    for search, names in (
        (Search(recipe, ["train.batch=12"], SEARCHES, TRIALS), "--set"),
        (Search(recipe, searches=["train.shift=0..2"], trials=TRIALS), "--search"),
        (Search(recipe, [], SEARCHES, TRIALS, 2), "--seeds 1, found 2"),
        (Search("digits", ["data.shots=2"], SEARCHES, TRIALS), "recipe"),
    ):
        with pytest.raises(InputError, match=f"holds a search with .*{names}"):
            tune(search, digits, None, whole[0])
    (tmp_path / "mine").write_text("")
    with pytest.raises(InputError, match="it is no search"):
        tune(Search(recipe), digits, None, tmp_path)


def test_a_journal_that_was_cut_is_mended_and_one_that_is_damaged_is_named(
    whole: tuple[Path, Found], digits: Path, recipe: str, tmp_path: Path
) -> None:
    shutil.copytree(whole[0], tmp_path / "s")
    journal = tmp_path / "s" / "journal.log"
    kept = journal.read_bytes()
    journal.write_bytes(kept + b'{"op_code":5,"wor')
    tune(Search(recipe, searches=SEARCHES, trials=TRIALS), digits, None, tmp_path / "s")
    same_files(tmp_path / "s", whole[0])
    journal.write_bytes(b"no journal\n" + kept)
    with pytest.raises(InputError, match=r"journal.log: damaged"):
        tune(Search(recipe, searches=SEARCHES, trials=TRIALS), digits, None, tmp_path / "s")


def test_the_table_has_the_best_trials_first(
    whole: tuple[Path, Found], capsys: pytest.CaptureFixture[str]
) -> None:
    print_search(whole[0], whole[1])
    shown = [
        int(found[1])
        for line in capsys.readouterr().out.splitlines()
        if (found := re.match(r" *(\d+) │", line))
    ]
    assert shown == [o.index + 1 for o in whole[1].best]


def test_what_the_accuracy_hangs_on_is_told_of_ten_whole_trials() -> None:
    study = optuna.create_study(direction="maximize")
    space = dict(map(parse_search, ("method.alignment=0.0..1.0", "method.mix_ratio=0.1..0.9")))
    rng = np.random.default_rng(0)
    for i in range(12):
        values = {"method.alignment": rng.random(), "method.mix_ratio": rng.uniform(0.1, 0.9)}
        known = {"index": i, "settings": {key: str(value) for key, value in values.items()}}
        study.add_trial(
            optuna.trial.create_trial(
                value=values["method.alignment"],
                params=values,
                distributions=space,
                user_attrs=known,
            )
        )
    ended = outcomes(study.trials, 1)
    found = importance(study, ended)
    assert found is not None
    assert found["method.alignment"] > 0.8
    assert sum(found.values()) == pytest.approx(1.0)
    assert importance(study, ended[:9]) is None


def test_recordings_of_another_folder_are_tested_by_the_best_recipe_alone(
    tmkt: Any, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(
        """
        data = {name = "folders", bins = 4, bin_us = 12500, validation = 0.34}
        network = {channels = [4, 4], strides = [2, 1], pools = [1, 1]}
        method = {name = "target-only"}
        train = {steps = 4, batch = 4, warmup_steps = 1, threads = 1}
        """
    )
    write_session(tmp_path / "monday", ["left", "right"], 3, 0)
    write_session(tmp_path / "friday", ["left", "right"], 2, 1)
    write_session(tmp_path / "wrong", ["right", "left"], 2, 1)
    search = ("--search", "train.learning_rate=0.01|0.1", "--trials", "2", "--json")
    for test in ("friday", "wrong"):
        words = ("mine.toml", "--data", "monday", "--test", test, "--out", f"tuned-{test}")
        done = tmkt("tune", *words, *search, cwd=tmp_path)
        assert done.code == 0, done.err
        assert done.json["validation_recordings"] == 2
    same_files(tmp_path / "tuned-friday", tmp_path / "tuned-wrong")
    following = done.err.split("Next: tmkt ")[1].split()
    assert following[:6] == [
        "train",
        "tuned-wrong/best.toml",
        "--data",
        "monday",
        "--test",
        "wrong",
    ]
    done = tmkt(*following, cwd=tmp_path)
    assert done.code == 0, done.err
    assert "on 4 recordings that were not trained on" in done.err
    for missing in ("nowhere", "mine.toml"):
        words = ("mine.toml", "--data", "monday", "--test", missing, "--out", "none")
        done = tmkt("tune", *words, *search, cwd=tmp_path)
        assert (done.code, missing in done.err) == (2, True)
    assert not (tmp_path / "none").exists()


def test_a_kill_while_a_dead_trial_is_cleared_away_leaves_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    storage = open_storage(tmp_path / "search", {})
    trial = storage.study.ask()
    trial.set_user_attr(WORKER, "a process that was killed")
    folder = storage.folder / TRIALS_FOLDER / str(trial.number)
    folder.mkdir(parents=True)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with storage.working():
        with monkeypatch.context() as just_then:
            just_then.setattr(shutil, "rmtree", killed)
            with pytest.raises(KeyboardInterrupt):
                storage.fail_dead()
        storage.fail_dead()
    assert not folder.exists()
