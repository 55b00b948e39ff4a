"""`train.choose = "validation"`: the weights of the epoch that did best are deployed."""

import json
from pathlib import Path

import pytest
from example_backbone import tiny_recipe

from tmkt.errors import InputError
from tmkt.recipe import Recipe
from tmkt.runs import INFO, METRICS, MODEL
from tmkt.train import trainer
from tmkt.train.measure import measure
from tmkt.train.source import load_source
from tmkt.train.trainer import train

STEPS = 40


def _recipe(**changes: object) -> Recipe:
    given = {"choose": "validation", "draw": "epochs", "steps": STEPS, **changes}
    return tiny_recipe(network={}, data={"validation": 1}, train=given)


@pytest.fixture(scope="module")
def whole(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("chosen") / "run"
    train(_recipe(), digits, None, out)
    return out


def test_the_deployed_weights_are_those_of_the_best_epoch(whole: Path, digits: Path) -> None:
    rows = [json.loads(line) for line in (whole / METRICS).read_text().splitlines()]
    validation = {row["step"]: row["validation"] for row in rows if "epoch" in row}
    info = json.loads((whole / INFO).read_text())
    chosen = info["chosen"]
    assert chosen["by"] == "validation"
    assert validation[chosen["step"]] == chosen["accuracy"] == max(validation.values())
    data = load_source(_recipe(), digits, None)
    net = trainer.load_run(whole).load_network()
    again = measure(net, data.validation_frames, data.validation_labels)
    assert (again["accuracy"], again["loss"]) == (chosen["accuracy"], chosen["loss"])
    assert measure(net, data.test_frames, data.test_labels) == info["test"]


def test_a_training_that_was_stopped_chooses_the_same(
    whole: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY", 6)
    chosen = json.loads((whole / INFO).read_text())["chosen"]["step"]

    def stop(done: int, *_: object) -> None:
        if done == min(chosen + 7, STEPS - 1):  # behind the choice that stays
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        train(_recipe(), digits, None, tmp_path / "run", progress=stop)
    train(_recipe(), digits, None, tmp_path / "run", resume=True)
    for name in (MODEL, METRICS, INFO):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes(), name


def test_the_choice_changes_nothing_of_the_training(
    whole: Path, digits: Path, tmp_path: Path
) -> None:
    train(_recipe(choose="last"), digits, None, tmp_path / "last")
    assert (tmp_path / "last" / METRICS).read_bytes() == (whole / METRICS).read_bytes()
    assert "chosen" not in json.loads((tmp_path / "last" / INFO).read_text())


def test_without_validation_recordings_there_is_no_choice() -> None:
    with pytest.raises(InputError, match=r"set data\.validation"):
        tiny_recipe(network={}, train={"choose": "validation"})


def test_equal_accuracy_is_decided_by_the_loss_and_then_by_the_earlier_step(whole: Path) -> None:
    from tmkt.train.chosen import Chosen

    net = trainer.load_run(whole).load_network()
    chosen = Chosen(net)
    for step, accuracy, loss in ((1, 0.5, 2.0), (2, 0.5, 1.0), (3, 0.5, 1.0), (4, 0.4, 0.1)):
        chosen.consider(net, step, {"accuracy": accuracy, "loss": loss})
    assert chosen.describe() == {"by": "validation", "step": 2, "accuracy": 0.5, "loss": 1.0}
