"""Own recordings in classes and sessions, small enough to train on in a second."""

from pathlib import Path

import numpy as np

from tmkt.events.types import Events
from tmkt.readers.numpy_files import NpzWriter

SIZE = (12, 16)  # height, width


def bar(column: int, seed: int, n: int = 800) -> Events:
    """An upright bar around `column` of a 16x12 camera that flickers for 50 ms."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, 50_000, n))
    t[0], t[-1] = 0, 50_000
    return Events(
        t.astype(np.int64),
        np.clip(column + rng.integers(-1, 2, n), 0, SIZE[1] - 1).astype(np.uint16),
        rng.integers(0, SIZE[0], n).astype(np.uint16),
        rng.integers(0, 2, n).astype(np.uint8),
        SIZE,
    )


def write_npz(events: Events, path: Path, with_size: bool = True) -> None:
    """Write a recording; without its size as a camera's own software may leave it out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if with_size:
        with path.open("wb") as file:
            writer = NpzWriter(file, str(path), events.sensor)
            writer.write(events)
            writer.finish()
            writer.close()
    else:
        np.savez(path, t=events.t, x=events.x, y=events.y, p=events.p)


def write_session(root: Path, classes: list[str], each: int, seed: int) -> Path:
    """Write `<class>/<number>.npz`, whose names are the same in every session."""
    for c, name in enumerate(classes):
        for i in range(each):
            write_npz(bar(2 + 5 * c, 1000 * seed + 100 * c + i), root / name / f"{i}.npz")
    return root
