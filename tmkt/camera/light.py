"""Light that reaches the pixels of the simulated camera at each step: compiled loops.

Two ways: a camera that only shifts its view (saccades) looks at a canvas that is rendered once; an
image that also turns and grows is sampled anew for each pixel.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tmkt.camera.path import OBJECT
from tmkt.kernels import kernel

MASK_SLOPE = 2.0  # of an object's edge: from still to moving within an eighth of its half side


class Scene(NamedTuple):
    """Moving scene of one recording.

    `kind` says what moves, `poses` [steps, 4] how: the image's (y, x, angle, size), see
    `tmkt/camera/path.py`. For SACCADES, `light` is the canvas, with the sensor in its middle. Else
    it is the image with a border (`light_image`), `place` [2, 3] takes (row, column, 1) on the
    sensor to (y, x) on the image, and `still` [pixels] is the light beside or behind the image.
    """

    kind: int
    light: NDArray[np.float32]
    still: NDArray[np.float32]
    place: NDArray[np.float64]
    poses: NDArray[np.float64]


@kernel
def see_shifted(
    light: NDArray[np.float32], margin: int, pose: NDArray[np.float64], now: NDArray[np.float32]
) -> None:
    """Write what the pixels see on the canvas `light` into `now`, as wide as the canvas."""
    stride, flat = light.shape[1], light.reshape(-1)
    # the image's move by +y shows on a pixel what lay at -y
    y, x = margin - pose[0], margin - pose[1]
    top, left = math.floor(y), math.floor(x)
    fy, fx = y - top, x - left
    a, b = np.float32((1.0 - fy) * (1.0 - fx)), np.float32((1.0 - fy) * fx)
    c, d = np.float32(fy * (1.0 - fx)), np.float32(fy * fx)
    corner = top * stride + left
    upper, upper_next, lower, lower_next = (
        flat[corner:],
        flat[corner + 1 :],
        flat[corner + stride :],
        flat[corner + stride + 1 :],
    )
    for k in range(now.size):
        now[k] = a * upper[k] + b * upper_next[k] + c * lower[k] + d * lower_next[k]


@kernel
def see_moving(scene: Scene, step: int, now: NDArray[np.float32], width: int) -> None:
    """Write what the pixels see of a moving image or object, and of what is beside and behind it,
    into `now` [pixels], row by row of `width`.
    """
    light, still, place = scene.light.reshape(-1), scene.still, scene.place
    rows, columns, stride = scene.light.shape[0] - 3, scene.light.shape[1] - 3, scene.light.shape[1]
    height = now.size // width
    moved_y, moved_x, angle, size = scene.poses[step]
    row_middle, column_middle = height / 2 - 0.5, width / 2 - 0.5
    cos, sin = math.cos(angle) / size, math.sin(angle) / size
    # (row, column) on the sensor to (y, x) in `light`: `place` after the inverse of the pose
    yy = np.float32(place[0, 0] * cos - place[0, 1] * sin)
    yx = np.float32(place[0, 0] * sin + place[0, 1] * cos)
    xy = np.float32(place[1, 0] * cos - place[1, 1] * sin)
    xx = np.float32(place[1, 0] * sin + place[1, 1] * cos)
    y_middle = place[0, 0] * row_middle + place[0, 1] * column_middle + place[0, 2] + 1.0
    x_middle = place[1, 0] * row_middle + place[1, 1] * column_middle + place[1, 2] + 1.0
    top_y = np.float32(y_middle - yy * (row_middle + moved_y) - yx * (column_middle + moved_x))
    top_x = np.float32(x_middle - xy * (row_middle + moved_y) - xx * (column_middle + moved_x))
    # a whole image fades into its border, but an object ends before it
    cut = scene.kind == OBJECT
    least = np.float32(1.0 if cut else 0.0)
    most_y, most_x = np.float32(rows + 1) - least, np.float32(columns + 1) - least
    beyond = np.float32(0.5) - least / np.float32(2.0)
    half_y, half_x = np.float32(rows / 2), np.float32(columns / 2)
    per_y, per_x = np.float32(1.0) / half_y, np.float32(1.0) / half_x
    middle_y, middle_x = half_y + np.float32(0.5), half_x + np.float32(0.5)
    one, zero, slope = np.float32(1.0), np.float32(0.0), np.float32(MASK_SLOPE)
    now[:] = still
    for row in range(height):
        row_y, row_x = top_y + yy * np.float32(row), top_x + xy * np.float32(row)
        # nothing is to be computed where the image cannot be
        first, end = _within(float(row_y - middle_y), float(yx), float(half_y + beyond), 0, width)
        first, end = _within(float(row_x - middle_x), float(xx), float(half_x + beyond), first, end)
        row_y, row_x = row_y + yx * np.float32(first), row_x + xx * np.float32(first)
        if first >= end:
            continue
        seen = now[row * width + first : row * width + end]
        for k in range(seen.size):
            y = min(max(row_y + yx * np.float32(np.int32(k)), least), most_y)
            x = min(max(row_x + xx * np.float32(np.int32(k)), least), most_x)
            top, left = np.int32(y), np.int32(x)
            fy, fx = y - np.float32(top), x - np.float32(left)
            at = np.uint32(top * np.int32(stride) + left)
            upper = light[at] + fx * (light[at + np.uint32(1)] - light[at])
            at += np.uint32(stride)
            lower = light[at] + fx * (light[at + np.uint32(1)] - light[at])
            seen[k] = upper + fy * (lower - upper)
        if cut:
            behind = still[row * width + first : row * width + end]
            for k in range(seen.size):
                u = (row_y + yx * np.float32(np.int32(k)) - middle_y) * per_y
                v = (row_x + xx * np.float32(np.int32(k)) - middle_x) * per_x
                u, v = u * u, v * v
                mask = min(max(slope * (one - u * u - v * v), zero), one)
                seen[k] = behind[k] + mask * (seen[k] - behind[k])


@kernel
def _within(start: float, slope: float, limit: float, first: int, end: int) -> tuple[int, int]:
    """Narrow the columns `first` to `end` to those where `start + slope * column` may be within
    +-`limit`.
    """
    if abs(slope) < 1e-3:
        return first, (end if abs(start) < limit + 1e-3 * end else first)
    a, b = (-limit - start) / slope, (limit - start) / slope
    low, high = min(a, b) - 1.0, max(a, b) + 2.0
    return max(first, int(max(low, 0.0))), int(max(min(high, float(end)), 0.0))


@kernel
def light_image(
    image: NDArray[np.uint8], dark: float, negative: int, out: NDArray[np.float32]
) -> None:
    """Compute the light of an image or its negative into `out` [h + 3, w + 3], with what is beside
    it: one pixel before, two behind.
    """
    out[:] = np.float32((1.0 if negative else 0.0) + dark)
    for r in range(image.shape[0]):
        for c in range(image.shape[1]):
            value = image[r, c] / 255.0
            out[r + 1, c + 1] = np.float32((1.0 - value if negative else value) + dark)


@kernel
def light_canvas(
    image: NDArray[np.uint8],
    place: NDArray[np.float64],
    dark: float,
    negative: int,
    canvas: NDArray[np.float32],
) -> None:
    """Compute the light that `canvas` gets from the image or its negative, bilinear.

    `place` takes (y, x) on the canvas to (y, x) on the image.
    """
    rows, columns = image.shape
    for r in range(canvas.shape[0]):
        for c in range(canvas.shape[1]):
            y = place[0, 0] * r + place[0, 1] * c + place[0, 2]
            x = place[1, 0] * r + place[1, 1] * c + place[1, 2]
            value = 0.0
            if -1.0 < y < rows and -1.0 < x < columns:
                top, left = math.floor(y), math.floor(x)
                fy, fx = y - top, x - left
                for i in range(2):
                    for j in range(2):
                        if 0 <= top + i < rows and 0 <= left + j < columns:
                            value += (
                                (fy if i else 1.0 - fy)
                                * (fx if j else 1.0 - fx)
                                * image[top + i, left + j]
                            )
            canvas[r, c] = np.float32((1.0 - value / 255.0 if negative else value / 255.0) + dark)


@kernel
def light_background(
    image: NDArray[np.uint8], dark: float, negative: int, out: NDArray[np.float32]
) -> None:
    """Compute the light of an image or its negative that fills the sensor, into `out` [height,
    width]; at its rim, the nearest pixel of the image.
    """
    rows, columns = image.shape
    height, width = out.shape
    for r in range(height):
        y = min(max((r + 0.5) * rows / height - 0.5, 0.0), rows - 1.0)
        top, next_top = int(y), min(int(y) + 1, rows - 1)
        for c in range(width):
            x = min(max((c + 0.5) * columns / width - 0.5, 0.0), columns - 1.0)
            left, next_left = int(x), min(int(x) + 1, columns - 1)
            fy, fx = y - top, x - left
            value = (1.0 - fy) * ((1.0 - fx) * image[top, left] + fx * image[top, next_left])
            value += fy * ((1.0 - fx) * image[next_top, left] + fx * image[next_top, next_left])
            value /= 255.0
            out[r, c] = np.float32((1.0 - value if negative else value) + dark)
