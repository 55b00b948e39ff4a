"""Folders of images recorded by the simulated camera: `<class>/<name>.bin` of `<class>/<name>.jpg`.

That is N-Caltech101's layout for Caltech101's images, and that of the data set "folders" for any
other. As N-Caltech101's, recordings differ in size as their images do.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tmkt.camera.recording import Camera, record
from tmkt.datasets.folders import image_files
from tmkt.datasets.images import SUFFIXES, look_at_image, need_folder, read_value
from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.files import writing
from tmkt.readers.atis import MOST_COLUMNS, MOST_ROWS, write_bin
from tmkt.readers.camera_file import write_camera

MARKER = "simulated.json"  # its presence says that recordings are simulated, and how
SIMULATED = "simulated from images"
N_CALTECH101 = (180, 240)  # (height, width) within which its recordings lie


@dataclass(frozen=True)
class Simulation:
    """Settings by which images are recorded. Each fills `sensor` (height, width) as far as its
    proportions allow.

    A recording depends on these settings and on the image with its class and name alone, so the
    images may be recorded in any order, at once, or some today and others tomorrow.
    """

    sensor: tuple[int, int] = N_CALTECH101
    seed: int = 0

    def settings(self) -> dict[str, Any]:
        """Give what the marker file holds."""
        camera = asdict(Camera())
        for key in ("sensor", "image_px"):  # of N-MNIST's digits
            del camera[key]
        height, width = self.sensor
        return {
            "recordings": "simulated: a simulated camera recorded images; no real camera did",
            "width": width,
            "height": height,
            "seed": self.seed,
            "camera": camera,
        }


@dataclass(frozen=True)
class Simulated:
    """Outcome of a simulation: numbers of recordings made now and there before."""

    made: int
    there: int


def is_simulated(root: Path) -> bool:
    """Tell whether the recordings in a folder are those of `simulate_images`."""
    return (root / MARKER).is_file()


def simulate_images(
    images: Path,
    out: Path,
    simulation: Simulation,
    *,
    per_class: int | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Simulated:
    """Record the images `images`/<class>/<name> as `out`/<class>/<name>.bin.

    Recordings that are there stay as they are, so a simulation that was stopped goes on: a file is
    there only when it is whole. With `per_class` so many images of each class are recorded, drawn
    by the seed; more hold fewer. The same settings give the same bytes, with any number of
    `threads` (None: one a processor). `progress` is told how many recordings of how many are there.
    Raises InputError for a folder without images, for an `out` of other content or settings, and at
    the end if images could not be recorded: all others are.
    """
    _check_sensor(simulation.sensor)
    chosen = _choose(images, per_class, simulation.seed)
    _claim(out, simulation)
    write_camera(out, simulation.sensor)  # which .bin files do not say
    missing = {name: path for name, path in chosen.items() if not (out / name).is_file()}
    there = len(chosen) - len(missing)
    errors: list[str] = []
    pool = ThreadPoolExecutor(threads or os.cpu_count() or 1)
    try:
        record_one = partial(_record_to, out, simulation)
        for done, error in enumerate(pool.map(record_one, missing, missing.values()), 1):
            errors += [] if error is None else [error]
            if progress:
                progress(there + done, len(chosen))
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C: those at hand are finished
    if errors:
        others = [error.partition(": ")[0] for error in errors[1:4]]
        named = f", as {', '.join(others)}" if others else ""
        raise InputError(
            f"{errors[0]}; {len(errors)} of {len(chosen)} images were not recorded{named}; the"
            " others are"
        )
    return Simulated(len(missing), there)


def record_image(path: Path, name: str, simulation: Simulation) -> Events:
    """Record an image file as large as the sensor allows, in the sensor's middle.

    The pixels around it see nothing, so that the events' bounds are those of the image. Its light
    is the value that a grey static stream has of it (max of red, green and blue; ours). `name` and
    the seed decide the pixels' thresholds and the noise. Raises InputError for a file that is no
    image.
    """
    (height, width), (rows, columns) = look_at_image(path).size, simulation.sensor
    scale = min(rows / height, columns / width)
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    digest = hashlib.sha256(name.encode()).digest()
    camera = replace(Camera(), sensor=size, image_px=size[0])
    seed = (simulation.seed, int.from_bytes(digest[:8], "little"))
    events = record(read_value(path, size), seed, camera)
    top, left = (rows - size[0]) // 2, (columns - size[1]) // 2
    x, y = (events.x + left).astype(np.uint16), (events.y + top).astype(np.uint16)
    return replace(events, x=x, y=y, sensor=simulation.sensor)


def _record_to(out: Path, simulation: Simulation, name: str, path: Path) -> str | None:
    """Record an image to its file; give the error of an image that cannot be recorded."""
    try:
        events = record_image(path, name, simulation)
    except InputError as error:
        return str(error) if str(path) in str(error) else f"{path}: {error}"
    write_bin(events, out / name)
    return None


def _check_sensor(sensor: tuple[int, int]) -> None:
    height, width = sensor
    if not (1 <= height <= MOST_ROWS and 1 <= width <= MOST_COLUMNS):
        raise InputError(
            f"--sensor {width}x{height}: .bin records hold at most {MOST_COLUMNS} columns and"
            f" {MOST_ROWS} rows; give a smaller one"
        )


def _choose(images: Path, per_class: int | None, seed: int) -> dict[str, Path]:
    """Choose the images to record: their files by the names of the recordings."""
    found = image_files(need_folder(images, "<class>/<name>.jpg"))
    of_class: dict[str, list[Path]] = {}
    for path in found:
        of_class.setdefault(path.parent.name, []).append(path)
    if not found:
        raise InputError(
            f"{images}: holds no <class>/<name> with one of {' '.join(SUFFIXES)}; give the folder"
            " that holds the classes"
        )
    chosen: dict[str, Path] = {}
    for name, paths in of_class.items():
        for path in _drawn(name, paths, per_class, seed):
            recording = f"{name}/{path.stem}.bin"
            if recording in chosen:
                raise InputError(
                    f"{path}: has the name of {chosen[recording].name}, expected names that differ"
                    " by more than their ending, since a recording takes its image's; rename one"
                )
            chosen[recording] = path
    return chosen


def _drawn(name: str, paths: Sequence[Path], most: int | None, seed: int) -> list[Path]:
    digest = hashlib.sha256(name.encode()).digest()
    order = np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])
    return [paths[i] for i in sorted(order.permutation(len(paths))[:most].tolist())]


def _claim(out: Path, simulation: Simulation) -> None:
    """Write the marker to an empty or new folder; check that of one that is there."""
    settings = json.loads(json.dumps(simulation.settings()))
    if is_simulated(out):
        try:
            before = json.loads((out / MARKER).read_text(encoding="utf-8"))
        except (ValueError, RecursionError, OSError):
            before = None
        if before != settings:
            raise InputError(
                f"{out}: holds recordings that were made with other settings ({MARKER}); choose"
                " another folder or remove it"
            )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out}: exists and holds no {MARKER}, expected a free place or recordings that were"
            " simulated; choose another folder"
        )
    with writing(out / MARKER) as beside:
        beside.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8", newline="\n")
