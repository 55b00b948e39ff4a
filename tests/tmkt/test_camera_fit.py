from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tmkt.camera.fit import FITTED_SPREADS, CameraFit, fit_camera, fit_recipe
from tmkt.camera.frames import simulate_frames
from tmkt.datasets import dataset
from tmkt.datasets.digits import simulate_digits
from tmkt.datasets.protocols import split_recordings
from tmkt.errors import InputError
from tmkt.events.frames import InputContract
from tmkt.recipe import Recipe, StaticRecipe, load_recipe, parse_recipe
from tmkt.train import RECIPES

CONTRACT = InputContract((34, 34), 10, 31_600, 1)
TRUE = StaticRecipe(
    threshold=0.3,
    amplitude_px=3.5,
    direction=100.0,
    saccade_us=85_000,
    polarity="normal",
    shown="positive",
    noise_hz=3.0,
    noise_on=0.8,
)
NO_SPREAD = {
    "threshold_spread": 0.0,
    "amplitude_spread": 0.0,
    "direction_spread": 0.0,
    "timing_spread": 0.0,
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit") / "digits"
    simulate_digits(folder, 3, 0)
    return folder


@pytest.fixture(scope="module")
def fitted(digits: Path) -> tuple[Recipe, CameraFit]:
    return fit_recipe(load_recipe("digits", RECIPES, ["data.shots=1"]), digits, None)


def test_the_camera_that_recorded_a_few_images_is_found_again() -> None:
    images = np.kron(np.random.default_rng(1).random((6, 7, 7)) < 0.4, np.full((4, 4), 255)).astype(
        np.uint8
    )
    moves = np.tile(np.eye(2, 3), (6, 1, 1))
    frames = simulate_frames(
        images, moves, CONTRACT, TRUE.model_copy(update=NO_SPREAD), np.random.default_rng(9)
    )
    steps: list[tuple[int, int]] = []
    fit = fit_camera(
        frames,
        [image[None] for image in images],
        CONTRACT,
        StaticRecipe(),
        0,
        lambda done, total: steps.append((done, total)),
    )
    camera = fit.camera
    assert (camera.polarity, camera.shown) == ("normal", "positive")
    assert abs(camera.direction - 100.0) < 10.0
    assert camera.amplitude_px == pytest.approx(3.5, rel=0.15)
    assert camera.saccade_us == pytest.approx(85_000, rel=0.05)
    assert camera.threshold == pytest.approx(0.3, rel=0.4)  # binary counts say little of it
    assert camera.noise_hz == pytest.approx(3.0, rel=0.15)
    assert camera.noise_on == pytest.approx(0.8, abs=0.05)
    assert fit.distance < 0.6 * fit.distance_before
    assert {key: getattr(camera, key) for key in FITTED_SPREADS} == FITTED_SPREADS
    assert steps == [(i + 1, steps[0][1]) for i in range(steps[0][1])]


def test_the_fit_of_another_simulation_s_recordings_is_that_simulation(
    fitted: tuple[Recipe, CameraFit],
) -> None:
    """The digits were recorded by `tmkt.camera.record`: the same triangle, 5 pixels wide and 4.5
    high, 100 ms a saccade, 1 = brighter.
    """
    recipe, fit = fitted
    assert fit.recordings == 10
    assert recipe.static == fit.camera
    assert fit.camera.encoding == "simulated"
    assert (fit.camera.polarity, fit.camera.shown) == ("normal", "positive")
    assert abs(fit.camera.direction) < 10.0
    assert 4.0 < fit.camera.amplitude_px < 5.5
    assert fit.camera.saccade_us == pytest.approx(100_000, rel=0.05)


def test_no_recording_is_looked_at_that_would_be_tested(
    digits: Path, fitted: tuple[Recipe, CameraFit], tmp_path: Path
) -> None:
    """The fit is the same, to the last digit, with all other recordings cut to ten events."""
    recipe = load_recipe("digits", RECIPES, ["data.shots=1"])
    split = split_recordings(
        dataset("digits"), dataset("digits").find_recordings(digits), recipe.data, recipe.train.seed
    )
    seen = {recording.path.relative_to(digits) for recording in split.train}
    for path in digits.rglob("*"):
        target = tmp_path / path.relative_to(digits)
        if path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            data = path.read_bytes()
            target.write_bytes(
                data if path.suffix != ".bin" or path.relative_to(digits) in seen else data[:50]
            )
    assert fit_recipe(recipe, tmp_path, None) == fitted


def test_the_command_prints_the_section_and_writes_a_recipe_that_trains(
    digits: Path, tmp_path: Path, tmkt: Any
) -> None:
    out = tmp_path / "mine.toml"
    command = (
        "data",
        "fit-camera",
        "digits",
        "--data",
        digits,
        "--set",
        "data.shots=1",
        "--out",
        out,
    )
    done = tmkt(*command)
    assert done.code == 0, done.err
    assert done.out.startswith('[static]\nencoding = "simulated"\n')
    assert "Fitted to 10 recordings" in done.err
    written = load_recipe(str(out), RECIPES)
    assert done.out in out.read_text()
    assert written.data.shots == 1
    trained = tmkt(
        "train",
        out,
        "--data",
        digits,
        "--out",
        tmp_path / "run",
        "--set",
        "train.steps=2",
        "--set",
        "method.name=mix",
    )
    assert trained.code == 0, trained.err


def test_the_command_reports_in_json(
    digits: Path, fitted: tuple[Recipe, CameraFit], tmkt: Any
) -> None:
    report = tmkt(
        "data", "fit-camera", "digits", "--data", digits, "--set", "data.shots=1", "--json"
    ).json
    fit = fitted[1]
    assert report == {
        "recordings": 10,
        "seed": 0,
        "distance_before": fit.distance_before,
        "distance": fit.distance,
        "static": fit.camera.model_dump(),
    }


def test_a_data_set_without_images_and_a_folder_without_recordings_are_refused(
    tmp_path: Path, tmkt: Any
) -> None:
    values = load_recipe("digits", RECIPES).model_dump()
    gestures = parse_recipe({**values, "data": {**values["data"], "name": "dvsgesture"}}, "test")
    with pytest.raises(InputError, match="has no images"):
        fit_recipe(gestures, tmp_path, None)
    done = tmkt("data", "fit-camera", "digits", "--data", tmp_path)
    assert done.code == 2
    assert done.err.count("\n") == 1
