"""Encodings of images for the network.

Either the same grey frame at every time step, or the events of a simulated camera.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tmkt.camera.frames import Scenes, draw_scenes, simulate_frames
from tmkt.camera.screen import shown_size
from tmkt.datasets.decoded import contract_of
from tmkt.networks.gpu.choice import fused_on_gpu
from tmkt.recipe import Recipe
from tmkt.train.ahead import host_tensor
from tmkt.train.augment import delayed, draw_delays, draw_moves, moved

AT_ONCE = 100  # images before the camera, between two looks at the progress


@dataclass(frozen=True)
class DrawnImages:
    """Images uint8 [B, h, w] of a step, with all that was drawn for them, before anything is
    computed from them.

    Either `moves` are drawn, for still frames, or `scenes` before simulated cameras, which a GPU
    watches, or those were watched already: `counts` uint8 [B, T, 2, H, W]. These recordings are
    late by `delays`.
    """

    images: Tensor
    moves: NDArray[np.float64] | None = None
    scenes: Scenes | None = None
    counts: Tensor | None = None
    delays: NDArray[np.int64] | None = None


def draw_images(
    images: NDArray[np.uint8],
    recipe: Recipe,
    sensor: tuple[int, int],
    rng: np.random.Generator,
    device: torch.device,
) -> DrawnImages:
    """Draw how the images of a step are moved and recorded; all randomness comes from `rng`.

    For a GPU where Triton works, the cameras are drawn only; else they record on the CPU here.
    """
    found, moves = host_tensor(images, device), draw_moves(len(images), recipe.train, rng)
    if recipe.static.encoding == "grey":
        return DrawnImages(found, moves=moves)
    contract = contract_of(recipe.data, sensor)
    delays = draw_delays(len(images), recipe.train, rng)
    if device.type == "cuda" and fused_on_gpu() is not None:
        scenes = draw_scenes(images, moves, contract, recipe.static, rng)
        return DrawnImages(found, scenes=scenes, delays=delays)
    counts = simulate_frames(images, moves, contract, recipe.static, rng)
    return DrawnImages(found, counts=host_tensor(counts, device), delays=delays)


def encode(
    drawn: DrawnImages, recipe: Recipe, sensor: tuple[int, int], device: torch.device
) -> Tensor:
    """Compute on `device` what the network sees of drawn images, as the recipe's `static` section
    says.

    Gives float [B, 2, H, W], still frames, or [T, B, 2, H, W], a recording of each image by a
    camera of its own.
    """
    if drawn.moves is not None:
        images = drawn.images.to(device, non_blocking=True)
        return moved(grey_frames(images, sensor), drawn.moves, "bilinear")
    if drawn.scenes is not None:
        from tmkt.train.gpu.camera import watch_on_gpu  # it needs Triton

        counts = watch_on_gpu(drawn.scenes, contract_of(recipe.data, sensor), device)
    else:
        assert drawn.counts is not None
        counts = drawn.counts.to(device, non_blocking=True)
    counts = delayed(counts, drawn.delays)
    return counts.transpose(0, 1).to(torch.float32, memory_format=torch.contiguous_format)


def encode_images(
    images: NDArray[np.uint8], recipe: Recipe, sensor: tuple[int, int], rng: np.random.Generator
) -> Tensor:
    """Encode images uint8 [B, h, w] on the CPU, as `draw_images` and `encode` do."""
    cpu = torch.device("cpu")
    return encode(draw_images(images, recipe, sensor, rng, cpu), recipe, sensor, cpu)


def record_images(
    images: NDArray[np.uint8],
    recipe: Recipe,
    sensor: tuple[int, int],
    rng: np.random.Generator,
    progress: Callable[[int], None],
) -> NDArray[np.uint8]:
    """Record images uint8 [N, h, w], each by a simulated camera of its own, without augmentation.

    Gives counts uint8 [N, T, 2, H, W]. `progress` is told how many images are recorded.
    """
    contract = contract_of(recipe.data, sensor)
    out = np.empty((len(images), contract.bins, *contract.shape), np.uint8)
    order = np.arange(len(images))
    if recipe.static.path in ("object", "random"):
        # images come class by class: a background of the object's own class would tell the class
        order = rng.permutation(order)
    for start in range(0, len(images), AT_ONCE):
        part = order[start : start + AT_ONCE]
        unmoved = np.tile(np.eye(2, 3), (len(part), 1, 1))
        out[part] = simulate_frames(images[part], unmoved, contract, recipe.static, rng)
        progress(start + len(part))
    return out


def grey_frames(images: Tensor, sensor: tuple[int, int]) -> Tensor:
    """Scale images uint8 [B, h, w] to float [B, 2, H, W] in [0, 1], centred on the sensor (H, W).

    Both polarity channels hold the same. Knowledge Transfer (arXiv 2303.13077) feeds the value
    channel of HSV (for a grey image: the image) to both channels, identical at every step. Pixels
    outside the image are 0: the paper resizes to the sensor, padding keeps the geometry of the
    recordings.
    """
    frames = images.to(torch.float32)[:, None] / 255.0
    height, width = shown_size((images.shape[1], images.shape[2]), sensor)
    if (height, width) != frames.shape[-2:]:
        frames = F.interpolate(frames, size=(height, width), mode="bilinear", align_corners=False)
    top, left = (sensor[0] - height) // 2, (sensor[1] - width) // 2
    frames = F.pad(frames, (left, sensor[1] - width - left, top, sensor[0] - height - top))
    return frames.expand(-1, 2, -1, -1)
