"""Fitting the simulated camera to a few real recordings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.camera.frames import simulate_frames
from tmkt.datasets import Recording, StaticImages, dataset, load_frames
from tmkt.datasets.decoded import input_contract
from tmkt.datasets.protocols import check_paired, split_recordings
from tmkt.errors import InputError
from tmkt.events.frames import InputContract
from tmkt.recipe import Recipe, StaticRecipe, parse_recipe

DIRECTIONS = 12  # tried at first, each with both polarities, of the image and of its negative
ROUNDS = 150  # of the search that follows
MOST_RECORDINGS = 50  # are looked at; a handful is enough
OF_CLASS = 10  # images that stand in for a recording's own, where that is not at hand
DRAWS = 4  # simulated recordings of each image, in each round
# What is left of the spreads once the middle is known: wide enough for what a handful of recordings
# cannot tell (ours).
FITTED_SPREADS = {"direction_spread": 20.0, "amplitude_spread": 0.2}
# A negative with the other polarity differs by the logarithm alone: the two are told apart once the
# rest fits, so some rounds try it.
FLIPPED = 0.25
CHANGED = 0.5  # of the other values, in each round
OTHER = {"normal": "inverted", "inverted": "normal", "positive": "negative", "negative": "positive"}
TWO = np.float32(2.0)  # keeps what it multiplies in single precision
RELATIVE = (
    "amplitude_px",
    "saccade_us",
    "moving",
    "threshold",
)  # searched as factors; "direction" as an angle


@dataclass(frozen=True)
class CameraFit:
    """The fitted camera and its distance from the recordings, beside that of the camera that the
    search began with (0 = equal, 1 = no likeness).
    """

    camera: StaticRecipe
    distance: float
    distance_before: float
    recordings: int


def fit_recipe(
    recipe: Recipe,
    data: Path,
    static: Path | None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Recipe, CameraFit]:
    """Fits the camera of a recipe's `static` section to the recordings that its training would see,
    and to no others.

    Gives the recipe with the fitted camera: it is for the recipe's own `train.seed`, whose draw
    decides which recordings these are. A recording's own image is used where the images hold it,
    else some of its class. Raises InputError as a training does for data that cannot be read, and
    for data sets without images.
    """
    recipe = parse_recipe(
        {**recipe.model_dump(), "static": {**recipe.static.model_dump(), "encoding": "simulated"}},
        "fit-camera",
    )
    source = dataset(recipe.data.name)
    source = dataset(recipe.data.name, source.class_names(data))
    if source.load_images is None:
        raise InputError(
            f"{source.title}: has no images, and a camera is fitted by what it would record of"
            " them; choose another data set"
        )
    found = source.find_recordings(data)
    contract = input_contract(recipe.data, found)
    split = split_recordings(source, found, recipe.data, recipe.train.seed)
    check_paired(source, split.protocol)
    images = split.choose_images(source.load_images(static, contract.sensor))
    rng = np.random.default_rng(recipe.train.seed)
    chosen = [split.train[i] for i in np.sort(rng.permutation(len(split.train))[:MOST_RECORDINGS])]
    frames, _ = load_frames(chosen, contract)
    fit = fit_camera(
        frames, _shown(chosen, images, rng), contract, recipe.static, recipe.train.seed, progress
    )
    return recipe.model_copy(update={"static": fit.camera}), fit


def _shown(
    recordings: Sequence[Recording], images: StaticImages, rng: np.random.Generator
) -> list[NDArray[np.uint8]]:
    at = {instance: i for i, instance in enumerate(images.instances)}
    shown = []
    for recording in recordings:
        own = at.get(recording.instance)
        of_class = [own] if own is not None else np.flatnonzero(images.labels == recording.label)
        if not len(of_class):
            raise InputError(
                f"{recording.path}: there is no image of its class, expected some; give a fuller"
                " --static"
            )
        shown.append(images.images[rng.permutation(of_class)[:OF_CLASS]])
    return shown


def fit_camera(
    frames: NDArray[np.uint8],
    shown: Sequence[NDArray[np.uint8]],
    contract: InputContract,
    start: StaticRecipe,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> CameraFit:
    """Searches the camera whose recordings of images are most like real ones: how it moves, what
    its polarity says, threshold and noise.

    `frames` uint8 [N, bins, 2, H, W] are real recordings, `shown` has for each the images uint8 [M,
    h, w] that it may show: its own, if that is known, else some of its class. Compared are blurred
    frames: the relative squared distance of a recording from the mean of its simulations, which
    needs neither equal noise nor equal position to the pixel. The method is ours: twelve directions
    with both polarities of the image and its negative, then a random search that keeps what is
    better; noise is counted where the image is not. `seed` decides all of it; `progress` is told
    the trials done and their total.
    """
    images = np.concatenate(shown)
    ends = np.cumsum([len(own) for own in shown])
    real = _blurred(frames)
    moves = np.tile(np.eye(2, 3), (len(images), 1, 1))
    scale = float((real**2).sum())

    def simulated(camera: StaticRecipe) -> NDArray[np.float32]:
        still = camera.model_copy(
            update={
                "direction_spread": 0.0,
                "amplitude_spread": 0.0,
                "timing_spread": 0.0,
                "threshold_spread": 0.0,
            }
        )
        total = np.zeros((len(images), *frames.shape[1:]), np.uint16)
        for draw in range(
            DRAWS
        ):  # the same in each trial, so that trials differ by the camera alone
            total += simulate_frames(
                images, moves, contract, still, np.random.default_rng([seed, draw])
            )
        return _blurred(
            np.stack([own.mean(0, np.float32) for own in np.split(total, ends[:-1])])
        ) / np.float32(DRAWS)

    def distance(camera: StaticRecipe) -> float:
        return float(((simulated(camera) - real) ** 2).sum()) / max(scale, 1e-12)

    kinds = list(product(range(DIRECTIONS), ("normal", "inverted"), ("positive", "negative")))
    trials = len(kinds) + ROUNDS
    before = distance(start)
    best, camera = np.inf, start
    rng = np.random.default_rng(seed)
    for trial in range(trials):
        if trial < len(kinds):
            turn, polarity, screen = kinds[trial]
            change: dict[str, float | str] = {
                "direction": start.direction + 360.0 * turn / DIRECTIONS,
                "polarity": polarity,
                "shown": screen,
            }
            candidate = _changed(start, change)
        else:
            reach = 0.3 * 0.05 ** ((trial - len(kinds)) / ROUNDS)  # from 30 % down to 1.5 %
            change = {
                key: getattr(camera, key) * np.exp(reach * rng.standard_normal())
                for key in RELATIVE
                if rng.random() < CHANGED
            }
            change["direction"] = camera.direction + 60.0 * reach * rng.standard_normal()
            if rng.random() < FLIPPED:
                change |= {"polarity": OTHER[camera.polarity], "shown": OTHER[camera.shown]}
            candidate = _changed(camera, change)
        found = distance(candidate)
        if found < best:
            best, camera = found, candidate
        if progress:
            progress(trial + 1, trials)
    quiet = simulated(camera.model_copy(update={"noise_hz": 0.0})).sum((1, 2)) == 0.0
    camera = _changed(camera, {**_noise(frames, quiet, contract), **FITTED_SPREADS})
    return CameraFit(camera, best, before, len(frames))


def _noise(
    frames: NDArray[np.uint8], quiet: NDArray[np.bool_], contract: InputContract
) -> dict[str, float]:
    """Rate and polarity of the events where nothing moves: at pixels [N, H, W] that see none of the
    image. Nothing, where there is none.
    """
    seconds = float(quiet.sum()) * contract.bins * contract.bin_us * 1e-6
    off, on = (float(frames[:, :, p].sum(1, np.int64)[quiet].sum()) for p in (0, 1))
    if not seconds:
        return {}
    return {"noise_hz": (off + on) / seconds} | ({"noise_on": on / (off + on)} if off + on else {})


def _changed(camera: StaticRecipe, change: Mapping[str, float | str]) -> StaticRecipe:
    """The camera with other values, within the limits of the recipe and as short as a person would
    write them.
    """
    values = {**camera.model_dump(), **change}
    values["direction"] = (float(values["direction"]) + 180.0) % 360.0 - 180.0
    values["saccade_us"] = max(round(values["saccade_us"]), 1000)
    values["moving"] = min(float(values["moving"]), 1.0)
    for key in ("direction", "amplitude_px", "moving", "threshold", "noise_hz", "noise_on"):
        values[key] = float(f"{values[key]:.4g}")
    return StaticRecipe.model_validate(values)


def _blurred(frames: NDArray[Any]) -> NDArray[np.float32]:
    """Each frame smoothed by (1 2 1) / 4 down and across."""
    smooth = np.zeros((*frames.shape[:-2], frames.shape[-2] + 2, frames.shape[-1] + 2), np.float32)
    smooth[..., 1:-1, 1:-1] = frames
    smooth = smooth[..., :-2, :] + TWO * smooth[..., 1:-1, :] + smooth[..., 2:, :]
    blurred: NDArray[np.float32] = (
        smooth[..., :-2] + TWO * smooth[..., 1:-1] + smooth[..., 2:]
    ) / (TWO * TWO * TWO * TWO)
    return blurred
