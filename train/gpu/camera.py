"""The simulated camera on a GPU: what was drawn on the host, watched by a Triton kernel.

The model and its distributions are those of tmkt/camera/frames.py. What was drawn for a recording
is the same; the noise of pixels is drawn here, from the recordings' seeds, so it differs.
"""

import math

import numpy as np
import torch
import triton
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tmkt.camera.frames import Scenes
from tmkt.camera.path import OBJECT, SACCADES
from tmkt.camera.pixels import LEAST_FACTOR, Drawn
from tmkt.events.frames import InputContract
from tmkt.train.gpu.camera_kernel import watch

BLOCK = 512  # pixels of a program
MARGINS = 8  # pixels: a canvas is wider than the sensor by a multiple, so that few sizes compile


def watch_on_gpu(scenes: Scenes, contract: InputContract, device: torch.device) -> Tensor:
    """Record scenes: event counts uint8 [B, bins, 2, H, W] on `device`."""
    generator = torch.Generator(device).manual_seed(int(scenes.drawn.seeds[0] >> np.uint64(1)))
    batch, (height, width) = len(scenes.images), contract.sensor
    theta, start = draw_pixels(scenes, height * width, generator)
    counts = count_events(scenes, contract, theta, start)
    noise = _send(scenes.drawn.noise, device)
    on = scenes.common.noise_on
    rates = torch.stack([noise * (1.0 - on), noise * on], 1)[:, None, :, None, None]
    if scenes.drawn.noise.any():
        drawn = torch.poisson(rates.expand(batch, contract.bins, 2, height, width), generator)
        counts = (counts + drawn).clamp_max(scenes.common.max_count).to(torch.uint8)
    return counts


def draw_pixels(scenes: Scenes, pixels: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw the pixels' thresholds of log intensity, and where between its two thresholds each
    pixel's light is at first (-1 to 1): float32 [B, pixels] each.

    The nearly normal numbers are sums of four uniform ones, as those of tmkt/camera/random.py.
    """
    batch, device = len(scenes.images), generator.device
    uniform = torch.rand((5, batch, pixels), generator=generator, device=device)
    normal = (uniform[:4].sum(0) - 2.0) * math.sqrt(3.0)
    spread = (1.0 + scenes.common.pixel_spread * normal).clamp_min(LEAST_FACTOR)
    return _send(scenes.drawn.thresholds, device)[:, None] * spread, 2.0 * uniform[4] - 1.0


def count_events(scenes: Scenes, contract: InputContract, theta: Tensor, start: Tensor) -> Tensor:
    """Count the events of pixels as drawn by `draw_pixels`, without background noise: uint8
    [B, bins, 2, H, W].
    """
    images, drawn, common, bin_of = scenes
    device, (height, width) = theta.device, contract.sensor
    batch, rows, columns = images.shape
    margin = _margin(drawn)
    light, still = _light(scenes, contract.sensor, margin, device)
    first_steps = 1 + np.searchsorted(bin_of[1:], np.arange(contract.bins + 1))
    out = torch.empty((batch, contract.bins, 2, height, width), dtype=torch.uint8, device=device)
    size = height * width
    with torch.cuda.device_of(theta):
        watch[(batch, triton.cdiv(size, BLOCK))](
            light,
            still,
            _send(places(drawn, contract.sensor, (rows, columns), margin), device),
            theta.exp(),
            (theta * start).exp(),
            _send(drawn.wait_steps.astype(np.int32), device),
            _send(drawn.inverted.astype(np.int32), device),
            _send(first_steps.astype(np.int32), device),
            out,
            int(drawn.seeds[0] >> np.uint64(33)),
            contract.bins,
            size,
            width,
            rows,
            columns,
            light.shape[2],
            light[0].numel(),
            len(bin_of),
            float(common.drop),
            int(common.max_count),
            OBJECTS=bool((drawn.kinds == OBJECT).any()),
            DROPS=common.drop > 0.0,
            BLOCK=BLOCK,
            enable_fp_fusion=False,
        )
    return out


def places(
    drawn: Drawn, sensor: tuple[int, int], image: tuple[int, int], margin: int
) -> NDArray[np.float32]:
    """Compute where the pixels look at each step: float32 [B, steps, 10].

    y = a + b * row + c * column and x = d + e * row + f * column in the recording's light, which is
    read between the bounds g (of both), h (of y) and i (of x); j is 1 for an object, which ends
    before its rim. See `see_shifted` and `see_moving` in tmkt/camera/light.py.
    """
    batch, steps = drawn.poses.shape[:2]
    moved_y, moved_x, angle, size = np.moveaxis(drawn.poses, 2, 0)
    out = np.zeros((batch, steps, 10))
    middle = np.array(sensor) / 2 - 0.5
    place = drawn.places[:, None]
    cos, sin = np.cos(angle) / size, np.sin(angle) / size
    for axis in range(2):
        to_y, to_x, beyond = (place[:, :, axis, i] for i in range(3))
        by_row, by_column = to_y * cos - to_x * sin, to_y * sin + to_x * cos
        at_middle = to_y * middle[0] + to_x * middle[1] + beyond + 1.0
        out[:, :, 3 * axis] = (
            at_middle - by_row * (middle[0] + moved_y) - by_column * (middle[1] + moved_x)
        )
        out[:, :, 3 * axis + 1], out[:, :, 3 * axis + 2] = by_row, by_column
    cut = drawn.kinds == OBJECT
    least = np.where(cut, 1.0, 0.0)
    ends = [least, image[0] + 1 - least, image[1] + 1 - least, cut]
    out[:, :, 6:] = np.stack(ends, 1)[:, None]
    still = drawn.kinds == SACCADES  # the canvas is rendered with the sensor in its middle
    ends = [0.0, sensor[0] + 2 * margin - 2, sensor[1] + 2 * margin - 2, 0.0]
    zeros, ones = np.zeros_like(moved_y), np.ones_like(moved_y)
    rows = [margin - moved_y, ones, zeros, margin - moved_x, zeros, ones]
    shifted = np.concatenate([np.stack(rows, 2), np.broadcast_to(ends, (batch, steps, 4))], 2)
    return np.where(still[:, None, None], shifted, out).astype(np.float32)


def _margin(drawn: Drawn) -> int:
    """Give how far saccades take the view beyond the sensor, in pixels, rounded up."""
    shifts = np.abs(drawn.poses[drawn.kinds == SACCADES, :, :2])
    furthest = math.ceil(shifts.max()) + 1 if shifts.size else 0
    return -(-furthest // MARGINS) * MARGINS


def _light(
    scenes: Scenes, sensor: tuple[int, int], margin: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Compute the light of each recording: [B, rows, columns], a canvas for saccades or the image
    with a border, and behind objects [B, H, W].
    """
    images, drawn, common, _ = scenes
    batch, rows, columns = images.shape
    canvas = sensor[0] + 2 * margin, sensor[1] + 2 * margin
    shape = rows + 3, columns + 3
    if margin:
        shape = max(canvas[0], shape[0]), max(canvas[1], shape[1])
    values = _send(images, device).float()[:, None] / 255.0
    shown = values.new_zeros(batch, *shape)
    still = torch.zeros((batch, *sensor), device=device)
    shifted, moving = (
        _send(np.flatnonzero(which), device)
        for which in (drawn.kinds == SACCADES, drawn.kinds != SACCADES)
    )
    if len(shifted):
        grid = _canvas_grid(drawn, (rows, columns), canvas, margin, device)
        seen = F.grid_sample(values, grid, padding_mode="zeros", align_corners=False)[:, 0]
        shown[shifted, : canvas[0], : canvas[1]] = seen[shifted]
    if len(moving):
        shown[moving, 1 : rows + 1, 1 : columns + 1] = values[moving, 0]
        if (drawn.kinds == OBJECT).any():
            behind = F.interpolate(values, size=sensor, mode="bilinear", align_corners=False)[:, 0]
            others = _send(np.maximum(drawn.backgrounds, 0), device)
            still = behind[others]
    negative = _send(drawn.negative, device).bool()[:, None, None]
    shown, still = (torch.where(negative, 1.0 - one, one) for one in (shown, still))
    grey = _send(drawn.greys, device)[:, None, None]
    still = torch.where(_send(drawn.backgrounds < 0, device)[:, None, None], grey, still)
    return (shown + common.dark).contiguous(), (still + common.dark).contiguous()


def _canvas_grid(
    drawn: Drawn,
    image: tuple[int, int],
    canvas: tuple[int, int],
    margin: int,
    device: torch.device,
) -> Tensor:
    """Compute where the pixels of a canvas lie on the image, as grid_sample wants it."""
    place = drawn.places.copy()
    place[:, :, 2] -= margin * (place[:, :, 0] + place[:, :, 1])
    by_row, by_column, at_corner = _send(np.moveaxis(place, 2, 0).copy(), device)[
        ..., None, None
    ]  # each [B, 2, 1, 1]
    row, column = (torch.arange(n, device=device, dtype=torch.float32) for n in canvas)
    at = at_corner + by_row * row[:, None] + by_column * column  # [B, 2, rows, columns]
    sizes = torch.tensor(image, device=device).view(1, 2, 1, 1)
    grid: Tensor = ((2.0 * at + 1.0) / sizes - 1.0).flip(1).permute(0, 2, 3, 1)
    return grid


def _send(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """Send to the device; doubles become float32."""
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    return torch.from_numpy(array).to(device, non_blocking=True)
