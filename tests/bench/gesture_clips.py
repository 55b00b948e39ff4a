"""Makes a small data set of the seven DVS Gesture recordings: clips of 50 ms of each one's last
second, images of its first 0.4 s.

python tests/bench/gesture_clips.py --data ../shared/data/dvsgesture --out runs/clips

An image counts the events of 100 ms at each pixel, whatever their polarity. So it is no photograph:
what moved is bright, and nothing in it moves as a still picture before a shaken camera does.
OUT/events and OUT/images are for a recipe with data.name=folders, --data and --static.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.readers.atis import read_bin, write_bin

SENSOR = (128, 128)
IMAGES_US = 400_000  # images are of what comes before, clips of what comes after
IMAGE_US = 100_000
IMAGE_STEP_US = 10_000
CLIP_US = 50_000


def between(events: Events, start_us: int, end_us: int) -> Events:
    """Return the events with start <= t < end, with time stamps from the start."""
    kept = slice(*np.searchsorted(events.t, (start_us, end_us)))
    return Events(
        events.t[kept] - start_us, events.x[kept], events.y[kept], events.p[kept], events.sensor
    )


def image(events: Events) -> Image.Image:
    """Count events at each pixel; 255 is the count that one active pixel of a hundred exceeds."""
    counts = np.zeros(SENSOR)
    np.add.at(counts, (events.y, events.x), 1)
    return Image.fromarray(
        np.clip(255 * counts / np.quantile(counts[counts > 0], 0.99), 0, 255).astype(np.uint8)
    )


def make_clips(data: Path, out: Path) -> None:
    """Write the clips and images of all recordings in `data`."""
    for path in sorted(data.glob("*.bin")):
        events = read_bin(path, SENSOR)
        events = between(events, int(events.t[0]), int(events.t[-1]) + 1)
        clips, images = out / "events" / path.stem, out / "images" / path.stem
        for folder in (clips, images):
            folder.mkdir(parents=True, exist_ok=True)
        for start_us in range(0, IMAGES_US - IMAGE_US + 1, IMAGE_STEP_US):
            image(between(events, start_us, start_us + IMAGE_US)).save(
                images / f"image-{start_us // 1000:04d}ms.png"
            )
        for start_us in range(IMAGES_US, int(events.t[-1]) + 1 - CLIP_US, CLIP_US):
            write_bin(
                between(events, start_us, start_us + CLIP_US),
                clips / f"clip-{start_us // 1000:04d}ms.bin",
            )
    (out / "events" / "camera.toml").write_text("width = 128\nheight = 128\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    make_clips(options.data, options.out)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
