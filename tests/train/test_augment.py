import numpy as np
import pytest
import torch

from tmkt.recipe import TrainRecipe
from tmkt.train.augment import delayed, draw_delays, warp

STILL = TrainRecipe(steps=1, shift=0, rotation=0.0, zoom=0.0)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_no_shift_rotation_or_zoom_leaves_frames_as_they_are(mode: str) -> None:
    frames = torch.rand(3, 4, 34, 20)
    assert torch.allclose(warp(frames, STILL, np.random.default_rng(0), mode), frames, atol=1e-4)


def test_event_counts_stay_whole_and_all_channels_of_a_sample_move_alike() -> None:
    frames = (torch.rand(8, 1, 34, 34) < 0.2).float().expand(-1, 20, -1, -1)
    warped = warp(frames, TrainRecipe(steps=1), np.random.default_rng(0), "nearest")
    assert set(warped.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(warped, warped[:, :1].expand(-1, 20, -1, -1))
    assert not torch.equal(warped, frames)


def test_shifts_stay_within_the_pixels_that_the_recipe_allows_and_differ_between_samples() -> None:
    frames = torch.zeros(200, 1, 35, 21)
    frames[:, :, 17, 10] = 1.0
    warped = warp(
        frames, STILL.model_copy(update={"shift": 3}), np.random.default_rng(0), "bilinear"
    )[:, 0]
    weights = warped / warped.sum((1, 2), keepdim=True)
    y = (weights.sum(2) * torch.arange(35)).sum(1) - 17
    x = (weights.sum(1) * torch.arange(21)).sum(1) - 10
    for moved in (x, y):
        assert 2.5 < float(moved.abs().max()) <= 3.01
        assert abs(float(moved.mean())) < 0.5


def test_rotation_turns_without_shear_on_a_sensor_that_is_not_square() -> None:
    y, x = torch.meshgrid(torch.arange(41) - 20, torch.arange(61) - 30, indexing="ij")
    disc = ((x**2 + y**2) <= 15**2).float().expand(20, 1, -1, -1)
    warped = warp(
        disc, STILL.model_copy(update={"rotation": 90.0}), np.random.default_rng(0), "nearest"
    )
    assert float((warped != disc).float().mean()) < 0.02  # a disc stays a disc


def test_flipped_samples_are_mirrored_left_for_right_and_nothing_else_is_drawn_otherwise() -> None:
    frames = torch.rand(64, 1, 10, 16)
    rng = np.random.default_rng(0)
    flipped = warp(frames, STILL.model_copy(update={"flip": 0.5}), rng, "nearest")
    mirrored = (flipped == frames.flip(3)).flatten(1).all(1)
    same = (flipped == frames).flatten(1).all(1)
    assert (mirrored ^ same).all()
    assert 16 < int(mirrored.sum()) < 48
    moved = warp(frames, TrainRecipe(steps=1), np.random.default_rng(1), "bilinear")
    both = TrainRecipe(steps=1, flip=1.0)
    again = warp(frames.flip(3), both, np.random.default_rng(1), "bilinear")
    assert torch.allclose(again, moved, atol=1e-4)


def test_a_delay_moves_a_recording_in_time_and_what_leaves_the_bins_is_lost() -> None:
    frames = torch.arange(1, 11, dtype=torch.uint8).reshape(1, 5, 2, 1, 1).expand(3, -1, -1, -1, -1)
    late = delayed(frames, np.array([0, 2, -4]))
    assert late.dtype == torch.uint8
    assert late[:, :, 0].flatten(1).tolist() == [[1, 3, 5, 7, 9], [0, 0, 1, 3, 5], [9, 0, 0, 0, 0]]
    drawn = draw_delays(1000, TrainRecipe(steps=1, delay=3), np.random.default_rng(0))
    assert drawn is not None
    assert set(drawn.tolist()) == set(range(-3, 4))


def test_without_a_delay_nothing_is_drawn() -> None:
    rng = np.random.default_rng(0)
    assert draw_delays(10, STILL, rng) is None
    assert rng.random() == np.random.default_rng(0).random()
