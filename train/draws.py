"""Draws of a step's samples (`train.draw`): classes in equal shares, shuffled epochs, weighted."""

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.recipe import TrainRecipe

Places = dict[int, NDArray[np.int64]]
STREAM = 5  # keeps the orders of epochs apart from other draws of the same seed


def draw_rows(
    labels: NDArray[np.int64],
    places: Places,
    recipe: TrainRecipe,
    rng: np.random.Generator,
    step: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw `recipe.batch` of the samples with these `labels`; give their labels and their indices.

    "classes": each class as often as the others, up to one. "weighted": the class of each sample by
    itself, all with equal chance, as torch's WeightedRandomSampler with weights 1 / samples of the
    class. "epochs": the batch of this `step` of an epoch, which passes over all samples once, in an
    order of its own; without a step, as "classes". All of them are Knowledge Transfer's (arXiv
    2303.13077) but the first, which is ours. `places` are the indices of each class.
    """
    if recipe.draw == "epochs" and step is not None:
        rows = epoch_rows(len(labels), recipe.batch, step, recipe.seed)
        return labels[rows], rows
    if recipe.draw == "weighted":
        wanted = rng.choice(np.array(list(places)), recipe.batch)
    else:
        wanted = draw_labels(places, recipe.batch, rng)
    return wanted, one_of_each(wanted, places, rng)


def epoch_rows(samples: int, batch: int, step: int, seed: int) -> NDArray[np.int64]:
    """Give the indices of a step's batch, where the steps of an epoch pass over all samples.

    The rest that fills no batch is left out of its epoch, as in Knowledge Transfer's code
    (drop_last). The order of an epoch derives from (seed, epoch) alone, so a training that was
    stopped goes on with it.
    """
    epoch, turn = divmod(step, samples // batch)
    order = np.random.default_rng([seed, epoch, STREAM]).permutation(samples)
    return order[turn * batch : (turn + 1) * batch]


def check_draw(samples: int, recipe: TrainRecipe) -> None:
    """Raise InputError where an epoch would have no batch."""
    if recipe.draw == "epochs" and samples < recipe.batch:
        raise InputError(
            f"train.draw = 'epochs': {samples} samples to train on, expected at least train.batch ="
            f" {recipe.batch}; lower train.batch, or leave draw out"
        )


def draw_labels(places: Places, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the classes of a batch: each as often as the others, up to one."""
    classes = np.array(list(places))
    rounds = [rng.permutation(classes) for _ in range(-(-size // len(classes)))]
    return np.concatenate(rounds)[:size]


def places_of(labels: NDArray[np.int64]) -> Places:
    """Find the indices of each class in labels int64 [N]."""
    return {label: np.flatnonzero(labels == label) for label in np.unique(labels).tolist()}


def one_of_each(
    wanted: NDArray[np.int64], places: Places, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw for each wanted label one of its places at random."""
    own = [places[label] for label in wanted.tolist()]
    drawn = rng.integers([len(place) for place in own])
    return np.array([place[i] for place, i in zip(own, drawn, strict=True)])
