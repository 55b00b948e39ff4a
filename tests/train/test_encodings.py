import numpy as np
import pytest
import torch

from tmkt.errors import InputError
from tmkt.recipe import Recipe, load_recipe, parse_recipe
from tmkt.train import RECIPES
from tmkt.train.encodings import encode_images, grey_frames, record_images

SENSOR = (34, 34)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)


def _recipe(**static: object) -> Recipe:
    values = load_recipe("nmnist-fewshot", RECIPES).model_dump()
    return parse_recipe({**values, "static": static}, "test")


def test_an_image_of_the_recordings_size_is_padded_and_a_tiny_one_enlarged_to_the_same_size() -> (
    None
):
    mnist = grey_frames(torch.full((1, 28, 28), 255, dtype=torch.uint8), SENSOR)
    digits = grey_frames(torch.full((1, 8, 8), 255, dtype=torch.uint8), SENSOR)
    expected = torch.zeros(1, 2, 34, 34)
    expected[:, :, 3:31, 3:31] = 1.0
    assert torch.equal(mnist, expected)
    assert torch.allclose(digits, expected, atol=1e-6)


def test_grey_images_are_still_and_simulated_ones_are_recordings_that_a_network_takes() -> None:
    still = encode_images(IMAGES, _recipe(encoding="grey"), SENSOR, np.random.default_rng(0))
    moving = encode_images(IMAGES, _recipe(encoding="simulated"), SENSOR, np.random.default_rng(0))
    assert still.shape == (6, 2, 34, 34)
    assert moving.shape == (10, 6, 2, 34, 34)
    assert moving.is_contiguous()
    assert set(moving.unique().tolist()) == {0.0, 1.0}  # max_count = 1
    assert 0.03 < float(moving.mean()) < 0.5


@pytest.mark.parametrize("encoding", ["grey", "simulated"])
def test_what_an_image_becomes_is_decided_by_the_generator_alone(encoding: str) -> None:
    first, again, other = (
        encode_images(IMAGES, _recipe(encoding=encoding), SENSOR, np.random.default_rng([3, step]))
        for step in (5, 5, 6)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_objects_of_images_in_order_of_class_stand_before_images_of_other_classes() -> None:
    """Black objects are seen before a grey or a bright image, and not before a black one."""
    images = np.repeat(np.array([0, 255], np.uint8), 100)[:, None, None] + np.zeros(
        (200, 28, 28), np.uint8
    )
    quiet = {"shown": "positive", "noise_hz": 0.0, "path": "object", "encoding": "simulated"}
    done: list[int] = []
    found = record_images(images, _recipe(**quiet), SENSOR, np.random.default_rng(0), done.append)
    assert done == [100, 200]
    unseen = (found[:100].sum((1, 2, 3, 4)) == 0).mean()
    assert 0.1 < unseen < 0.4  # a quarter; a half if all backgrounds were of the same class


def test_simulated_events_are_moved_by_the_augmentation_as_grey_frames_are() -> None:
    """A lone bright spot: the middle of its events lies where the middle of its grey frame does."""
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 5:9, 18:22] = 255
    quiet = {"noise_hz": 0.0, "direction_spread": 0.0, "amplitude_px": 3.0, "amplitude_spread": 0.0}
    middles = []
    for encoding in ("grey", "simulated"):
        recipe = parse_recipe({**_recipe(encoding=encoding, **quiet).model_dump()}, "test")
        recipe = parse_recipe(
            {
                **recipe.model_dump(),
                "train": {**recipe.train.model_dump(), "rotation": 60.0, "zoom": 0.3, "shift": 6},
            },
            "test",
        )
        found = np.concatenate(
            [
                _middle(encode_images(image, recipe, SENSOR, np.random.default_rng(seed)))
                for seed in range(12)
            ]
        )
        middles.append(found)
    assert np.ptp(middles[0], axis=0).min() > 5  # the moves are large
    assert np.abs(middles[0] - middles[1]).max() < 1.0


def _middle(frames: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    plane = frames.double().reshape(-1, 34, 34).sum(0)
    at = torch.arange(34.0, dtype=torch.float64)
    return np.array(
        [
            [
                float((plane.sum(1) * at).sum() / plane.sum()),
                float((plane.sum(0) * at).sum() / plane.sum()),
            ]
        ]
    )


def test_simulated_counts_and_interpolated_frames_are_refused_together() -> None:
    values = _recipe(encoding="simulated").model_dump()
    with pytest.raises(InputError, match="simulated camera gives counts"):
        parse_recipe({**values, "data": {**values["data"], "frames": "float"}}, "test")


def test_simulated_recordings_are_late_as_others_are() -> None:
    quiet = {"encoding": "simulated", "noise_hz": 0.0, "saccade_us": 100_000, "timing_spread": 0.0}
    whole = _recipe(**quiet)
    late = whole.model_copy(update={"train": whole.train.model_copy(update={"delay": 4})})
    found = encode_images(IMAGES, late, SENSOR, np.random.default_rng(0)).any(4).any(3).any(2)
    before = encode_images(IMAGES, whole, SENSOR, np.random.default_rng(0)).any(4).any(3).any(2)
    assert before[1:-1].all()  # three saccades, one behind the other
    assert int((~found[:4]).sum()) + int((~found[-4:]).sum()) > 0
    assert found[4:-4].all()
