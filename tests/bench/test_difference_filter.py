"""The difference filter sends what changes from a pixel to its neighbour, and nothing else."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="module")
def script() -> Any:
    path = Path(__file__).parent / "difference_filter.py"
    spec = importlib.util.spec_from_file_location("difference_filter", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_edge_is_sent_at_its_place_and_an_even_image_sends_nothing(script: Any) -> None:
    images = np.full((2, 6, 8), 40, np.uint8)
    images[1, :, 5:] = 200
    frames = script.difference_frames(images, 10)
    assert frames.shape == (2, 10, 2, 6, 8)
    assert frames[0].sum() == 0
    # step 4 compares a pixel with its right neighbour: brighter beyond column 4
    assert np.argwhere(frames[1, 4, 1]).tolist() == [[row, 4] for row in range(6)]
    assert frames[1, 4, 0].sum() == 0
    assert frames[1, 5].sum() == 0  # its neighbour above: the same
    assert np.array_equal(frames[:, 8:], frames[:, :2])  # the steps begin again
    assert np.array_equal(script.difference_frames(255 - images, 10), frames[:, :, ::-1])


def test_the_threshold_is_relative_to_the_range_of_the_image(script: Any) -> None:
    ramp = np.tile(np.arange(0, 80, 10, dtype=np.uint8), (6, 1))[None]
    steep = np.where(np.arange(8) < 7, ramp, 250)
    assert script.difference_frames(ramp, 8)[0, 4, 1].sum() == 6 * 7  # 10 of 70
    assert script.difference_frames(steep, 8)[0, 4, 1].sum() == 6  # 10 of 250 is too little
