"""Triton kernel of the simulated camera's pixels: the loop of tmkt/camera/pixels.py.

Each program watches a block of one recording's pixels from the first step to the last.
"""

import triton
import triton.language as tl


@triton.jit
def see(
    light,
    still,
    place,
    row,
    column,
    pixel,
    mask,
    rows,
    columns,
    stride,
    step,
    OBJECTS: tl.constexpr,
):
    """Give the light that the pixels of a recording see at a step.

    `place` [steps, 6] takes (1, row, column) of a pixel to (y, x) in `light`, whose rows are
    `stride` long. Behind its six numbers are the recording's ends: see `camera.py`.
    """
    at = place + step * 10
    y = tl.load(at) + tl.load(at + 1) * row + tl.load(at + 2) * column
    x = tl.load(at + 3) + tl.load(at + 4) * row + tl.load(at + 5) * column
    least, cut = tl.load(at + 6), tl.load(at + 9)
    inside_y = tl.minimum(tl.maximum(y, least), tl.load(at + 7))
    inside_x = tl.minimum(tl.maximum(x, least), tl.load(at + 8))
    top, left = inside_y.to(tl.int32), inside_x.to(tl.int32)
    fy, fx = inside_y - top.to(tl.float32), inside_x - left.to(tl.float32)
    corner = light + top * stride + left
    upper_left, upper_right = tl.load(corner, mask=mask), tl.load(corner + 1, mask=mask)
    corner += stride
    lower_left, lower_right = tl.load(corner, mask=mask), tl.load(corner + 1, mask=mask)
    upper = upper_left + fx * (upper_right - upper_left)
    lower = lower_left + fx * (lower_right - lower_left)
    seen = upper + fy * (lower - upper)
    if OBJECTS:
        u = (y - (rows + 1) * 0.5) / (rows * 0.5)
        v = (x - (columns + 1) * 0.5) / (columns * 0.5)
        u, v = u * u, v * v
        share = tl.minimum(tl.maximum(2.0 * (1.0 - u * u - v * v), 0.0), 1.0)
        share = tl.where(cut > 0.0, share, 1.0)
        behind = tl.load(still + pixel, mask=mask)
        seen = behind + share * (seen - behind)
    return seen


@triton.jit(do_not_specialize=["seed"])
def watch(
    light,
    still,
    place,
    factor,
    start,
    wait_steps,
    inverted,
    first_steps,
    out,
    seed,
    bins,
    size,
    width,
    rows,
    columns,
    stride,
    light_size,
    steps,
    drop,
    max_count,
    OBJECTS: tl.constexpr,
    DROPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Count the events of recordings into `out` uint8 [B, bins, 2, size].

    `factor` and `start` [B, size]: a pixel's threshold as a factor of light, and the light at its
    last event before the recording, relative to the first that it sees. `first_steps` [bins + 1]
    are the first step of each bin and the end.
    """
    recording = tl.program_id(0)
    pixel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = pixel < size
    row, column = (pixel // width).to(tl.float32), (pixel % width).to(tl.float32)
    light += recording * light_size
    still += recording * size
    place += recording * steps * 10
    out += recording.to(tl.int64) * bins * 2 * size
    own = recording * size + pixel
    factors = tl.load(factor + own, mask=mask, other=2.0)
    sleep = tl.load(wait_steps + recording)
    brighter_at = 1 - tl.load(inverted + recording)
    now = see(light, still, place, row, column, pixel, mask, rows, columns, stride, 0, OBJECTS)
    level = now * tl.load(start + own, mask=mask, other=1.0)
    high, low = level * factors, level / factors
    wait = tl.zeros([BLOCK], tl.int32)
    for b in range(bins):
        brighter_count = tl.zeros([BLOCK], tl.int32)
        darker_count = tl.zeros([BLOCK], tl.int32)
        for step in range(tl.load(first_steps + b), tl.load(first_steps + b + 1)):
            now = see(
                light, still, place, row, column, pixel, mask, rows, columns, stride, step, OBJECTS
            )
            asleep = wait > 0
            brighter = (now >= high) & (wait == 0)
            darker = (now <= low) & (now < high) & (wait == 0)
            next_high = tl.where(brighter, high * factors, tl.where(darker, low * factors, high))
            next_low = tl.where(brighter, high / factors, tl.where(darker, low / factors, low))
            # held in reset, the pixel follows the light
            high = tl.where(asleep, now * factors, next_high)
            low = tl.where(asleep, now / factors, next_low)
            wait = tl.where(asleep, wait - 1, tl.where(brighter | darker, sleep, 0))
            if DROPS:
                kept = tl.rand(seed, own * steps + step) >= drop
                brighter = brighter & kept
                darker = darker & kept
            brighter_count += brighter.to(tl.int32)
            darker_count += darker.to(tl.int32)
        at = out + b * 2 * size + pixel
        tl.store(
            at + brighter_at * size, tl.minimum(brighter_count, max_count).to(tl.uint8), mask=mask
        )
        tl.store(
            at + (1 - brighter_at) * size,
            tl.minimum(darker_count, max_count).to(tl.uint8),
            mask=mask,
        )
