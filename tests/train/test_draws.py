"""`train.draw`: from which samples a step learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from example_backbone import tiny_recipe

from tmkt.errors import InputError
from tmkt.recipe import Recipe, load_recipe, parse_recipe
from tmkt.train import RECIPES
from tmkt.train.data import load_training_data
from tmkt.train.draws import draw_rows, epoch_rows, places_of
from tmkt.train.samples import draw_batch
from tmkt.train.trainer import train

LABELS = np.array([0] * 9 + [1] * 2 + [2])  # unequal classes


def _recipe(draw: str, batch: int = 5) -> Recipe:
    return tiny_recipe(network={}, train={"draw": draw, "batch": batch})


def test_an_epoch_passes_over_every_sample_once_in_an_order_of_its_own() -> None:
    epochs = [
        np.concatenate(
            [epoch_rows(12, 4, step, seed=7) for step in range(3 * epoch, 3 * epoch + 3)]
        )
        for epoch in range(3)
    ]
    for order in epochs:
        assert sorted(order.tolist()) == list(range(12))
    assert len({tuple(order) for order in epochs}) == 3
    assert not np.array_equal(epochs[0][:4], epoch_rows(12, 4, 0, seed=8))


def test_what_fills_no_batch_is_left_out_of_its_epoch_alone() -> None:
    left_out = set()
    for epoch in range(30):
        drawn = np.concatenate([epoch_rows(12, 5, 2 * epoch + turn, 0) for turn in range(2)])
        assert len(set(drawn.tolist())) == 10
        left_out |= set(range(12)) - set(drawn.tolist())
    assert left_out == set(range(12))


@pytest.mark.parametrize(
    ("draw", "shares"), [("classes", (1 / 3, 0.0)), ("weighted", (1 / 3, 1.0)), ("epochs", None)]
)
def test_classes_are_drawn_equally_or_as_they_come(
    draw: str, shares: tuple[float, float] | None
) -> None:
    rng, recipe = np.random.default_rng(0), _recipe(draw, 6).train
    counts = []
    for step in range(400):
        labels, rows = draw_rows(LABELS, places_of(LABELS), recipe, rng, step)
        assert (LABELS[rows] == labels).all()
        counts.append(np.bincount(labels, minlength=3))
    drawn = np.array(counts)
    if shares is None:  # as often as there are recordings of the class
        assert drawn.sum(0).tolist() == [9 * 200, 2 * 200, 200]
        return
    mean, chance = shares
    assert drawn.mean(0) / 6 == pytest.approx([mean] * 3, abs=0.03)
    # By itself, the number of a class in a batch of 6 varies by sqrt(6 * 1/3 * 2/3) = 1.15.
    assert drawn.std(0) == pytest.approx([1.15 * chance] * 3, abs=0.1)


def test_a_batch_of_an_epoch_holds_its_recordings_with_images_of_their_classes(
    digits: Path,
) -> None:
    recipe = _recipe("epochs", 10)
    data = load_training_data(recipe, digits, None, True)
    labels = []
    for step in range(len(data.frames) // 10):
        batch = draw_batch(data, recipe, np.random.default_rng(step), torch.device("cpu"), step)
        labels += batch.labels.tolist()
    assert sorted(labels) == sorted(data.labels.tolist())


def test_an_epoch_without_a_batch_is_refused(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.draw = 'epochs': \d+ samples"):
        train(_recipe("epochs", 5000), digits, None, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_head_alone_draws_by_classes() -> None:
    values = _recipe("classes").model_dump()
    values["train"] |= {"init": "somewhere", "freeze": True, "draw": "epochs"}
    with pytest.raises(InputError, match="the head alone learns from features"):
        parse_recipe(values, "test")


def test_the_papers_recipes_draw_as_their_code_does() -> None:
    drawn = {
        name: load_recipe(name, RECIPES).train.draw
        for name in ("ncaltech101-kt", "cepdvs-kt", "nomniglot-kt")
    }
    assert drawn == {"ncaltech101-kt": "weighted", "cepdvs-kt": "epochs", "nomniglot-kt": "epochs"}
