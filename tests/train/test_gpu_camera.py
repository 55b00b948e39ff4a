"""The simulated camera's Triton kernel against the compiled loops: on a GPU where there is one,
else by Triton's interpreter (`make test-gpu-kernels`).
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from example_backbone import tiny_recipe
from numpy.typing import NDArray

from tmkt.camera.frames import draw_scenes
from tmkt.camera.pixels import LEAST_FACTOR, watch_batch
from tmkt.events.frames import InputContract
from tmkt.networks.lif import LIF
from tmkt.recipe import StaticRecipe
from tmkt.runs import METRICS
from tmkt.train.trainer import train

pytest.importorskip("triton", reason="Triton is not installed: make test-gpu-kernels")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if DEVICE.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip(
        "no GPU, and TRITON_INTERPRET is not 1: make test-gpu-kernels", allow_module_level=True
    )

CONTRACT = InputContract((20, 24), 3, 25_000, 255)


def _scenes(batch: int, **camera: Any) -> Any:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (batch, 5, 4), np.uint8).repeat(4, 1).repeat(4, 2)
    moves = np.tile(np.eye(2, 3), (batch, 1, 1)) + rng.uniform(-0.2, 0.2, (batch, 2, 3))
    return draw_scenes(images, moves, CONTRACT, StaticRecipe(**camera), rng)


def _compiled(scenes: Any) -> NDArray[np.int64]:
    out = np.zeros((len(scenes.images), CONTRACT.bins, *CONTRACT.shape), np.uint8)
    watch_batch(scenes.images, scenes.drawn, scenes.common, scenes.bin_of, out)
    return out.astype(np.int64)


def _drawn_by_the_loops(scenes: Any, pixels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the pixels' thresholds and starts that the compiled loops draw, by SplitMix64."""
    turns = np.arange(1, 2 * pixels + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = scenes.drawn.seeds[:, None] + turns * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits = z ^ (z >> np.uint64(31))
    parts = [bits[:, ::2] >> np.uint64(16 * i) & np.uint64(65535) for i in range(4)]
    normal = ((np.sum(parts, 0, dtype=np.float64) + 2.0) / 65536.0 - 2.0) * 3.0**0.5
    spread = np.maximum(1.0 + scenes.common.pixel_spread * normal, LEAST_FACTOR)
    start = 2.0 * (bits[:, 1::2] >> np.uint64(11)) * 2.0**-53 - 1.0
    theta = scenes.drawn.thresholds[:, None] * spread
    return tuple(torch.from_numpy(x.astype(np.float32)).to(DEVICE) for x in (theta, start))


@pytest.mark.parametrize("path", ["saccades", "drift", "object", "random"])
def test_with_the_loops_draws_the_kernel_counts_the_same_events(path: str) -> None:
    from tmkt.train.gpu.camera import count_events

    quiet = {"drop": 0.0, "noise_hz": 0.0, "rotation_deg_s": 400.0, "speed_spread": 1.0}
    scenes = _scenes(4, path=path, **quiet)
    expected = _compiled(scenes)
    found = count_events(scenes, CONTRACT, *_drawn_by_the_loops(scenes, 20 * 24)).cpu().numpy()
    assert (expected.sum((1, 2, 3, 4)) > 50).all()
    # single precision moves a crossing by a step, or beyond the end, now and then
    assert np.abs(found - expected).sum() < 0.005 * expected.sum()


def test_with_draws_of_its_own_the_kernel_has_the_loops_distribution() -> None:
    from tmkt.train.gpu.camera import watch_on_gpu

    scenes = _scenes(32, path="random", noise_hz=2.0, noise_on=0.8, drop=0.3, pixel_spread=0.3)
    found = watch_on_gpu(scenes, CONTRACT, DEVICE).cpu().numpy().astype(np.int64)
    again = watch_on_gpu(scenes, CONTRACT, DEVICE).cpu().numpy()
    assert np.array_equal(found, again)  # the recordings' seeds decide it
    # One draw of the loops is as far from another: the mean of several is the distribution's.
    seeds = [scenes.drawn.seeds + np.uint64(i) for i in range(12)]
    drawn = [_compiled(scenes._replace(drawn=scenes.drawn._replace(seeds=one))) for one in seeds]
    expected = np.mean(drawn, 0)
    for axes in ((0, 2, 3, 4), (0, 1, 3, 4)):  # by bin, by polarity
        np.testing.assert_allclose(found.sum(axes), expected.sum(axes), rtol=0.04)
    by_recording = [counts.sum((1, 2, 3, 4)) for counts in (found, expected)]
    np.testing.assert_allclose(*by_recording, rtol=0.4)
    for count in (1, 2, 3):  # pixels with so many events in a bin
        several = np.mean([(one == count).sum() for one in drawn])
        assert (found == count).sum() == pytest.approx(several, rel=0.06)


def test_counts_end_at_the_contracts_most() -> None:
    from tmkt.train.gpu.camera import watch_on_gpu

    scenes = _scenes(2, noise_hz=200.0)
    few = scenes._replace(common=scenes.common._replace(max_count=2))
    found = watch_on_gpu(few, CONTRACT, DEVICE)
    assert found.dtype == torch.uint8
    assert int(found.max()) == 2


def test_a_training_with_the_kernels_learns_what_one_without_does(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tmkt.networks.gpu.norm_lif import NormLif

    network = {"norm": "per-step", "channels": [2, 4], "strides": [2, 2]}
    recipe = tiny_recipe(method={"name": "tmkt"}, network=network, data={"bins": 3})
    rows = []
    for name in ("without", "with"):
        if name == "with" and DEVICE.type == "cpu":
            fused = lambda self, x, norm=None: self._fused(NormLif, x, norm)  # noqa: E731
            monkeypatch.setattr(LIF, "forward", fused)
        elif name == "without":
            monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        train(recipe, digits, None, tmp_path / name)
        monkeypatch.undo()
        text = (tmp_path / name / METRICS).read_text().splitlines()
        rows.append(json.loads(text[-1]))
    assert rows[0].keys() == rows[1].keys()
    for key in ("loss", "loss_alignment", "loss_modality_guidance"):
        assert rows[1][key] == pytest.approx(rows[0][key], rel=1e-2), key
