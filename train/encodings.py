"""Encodings of images for the network.

Either the same grey frame at every time step, or the events of a simulated camera.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tmkt.camera.frames import simulate_frames
from tmkt.camera.screen import shown_size
from tmkt.events.frames import InputContract
from tmkt.recipe import Recipe, StaticRecipe, TrainRecipe
from tmkt.train.augment import draw_moves, warp

AT_ONCE = 100  # images before the camera, between two looks at the progress


def encode_images(
    images: NDArray[np.uint8], recipe: Recipe, sensor: tuple[int, int], rng: np.random.Generator
) -> Tensor:
    """Encode images uint8 [B, h, w] as the recipe's `static` section says, each with augmentation.

    Gives float [B, 2, H, W], still frames, or [T, B, 2, H, W], a recording of each image by a
    camera of its own. All randomness comes from `rng`.
    """
    if recipe.static.encoding == "grey":
        return warp(grey_frames(torch.from_numpy(images), sensor), recipe.train, rng, "bilinear")
    return simulated_frames(images, _contract(recipe, sensor), recipe.static, recipe.train, rng)


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
    contract = _contract(recipe, sensor)
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


def _contract(recipe: Recipe, sensor: tuple[int, int]) -> InputContract:
    return InputContract(sensor, recipe.data.bins, recipe.data.bin_us, recipe.data.max_count)


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


def simulated_frames(
    images: NDArray[np.uint8],
    contract: InputContract,
    camera: StaticRecipe,
    moves: TrainRecipe,
    rng: np.random.Generator,
) -> Tensor:
    """Record images uint8 [B, h, w] by a simulated camera: event counts, float [T, B, 2, H, W].

    An image is moved by augmentation before it is recorded.
    """
    counts = simulate_frames(images, draw_moves(len(images), moves, rng), contract, camera, rng)
    return (
        torch.from_numpy(counts)
        .transpose(0, 1)
        .to(torch.float32, memory_format=torch.contiguous_format)
    )
