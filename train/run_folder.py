"""The folder that a training writes: whether it may begin there, and what it says of itself at the
end.
"""

import platform
import shutil
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tmkt import __version__
from tmkt.datasets.splits import to_ranges
from tmkt.errors import InputError
from tmkt.recipe import Recipe
from tmkt.runs import INFO, METRICS, RECIPE, TENSORBOARD, Run, load_run, load_run_recipe
from tmkt.train.data import TrainingData

LIBRARIES = ("torch", "spikingjelly", "numpy")  # whose versions decide a training's last bits


def remove_started(out: Path) -> None:
    """Clears what a training that learned nothing has written."""
    with suppress(OSError):
        for name in (METRICS, RECIPE):
            (out / name).unlink(missing_ok=True)
        shutil.rmtree(out / TENSORBOARD, ignore_errors=True)
        out.rmdir()


def open_run(recipe: Recipe, out: Path, resume: bool) -> Run | None:
    """Checks that `out` is free or may be resumed; gives the run if it is finished already."""
    if not (out / RECIPE).is_file():
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise InputError(f"{out}: exists and is not a run; choose another --out or remove it")
        return None
    finished = (out / INFO).is_file()
    if not resume:
        mend = (
            "choose another --out or remove it"
            if finished
            else "finish it with --resume, or choose another --out"
        )
        raise InputError(
            f"{out}: holds {'a finished' if finished else 'an unfinished'} training; {mend}"
        )
    old, new = load_run_recipe(out).model_dump(), recipe.model_dump()
    for section, values in new.items():
        for key, value in values.items():
            if old[section][key] != value:
                was = f"was trained with {section}.{key} = {old[section][key]!r}, found {value!r}"
                raise InputError(
                    f"{out}: {was}; resume with the same recipe or choose another --out"
                )
    return load_run(out) if finished else None


def run_info(recipe: Recipe, source: TrainingData, test: dict[str, Any]) -> dict[str, Any]:
    """What run.json says."""
    return {
        "dataset": recipe.data.name,
        "sensor": list(source.sensor),
        "classes": list(source.classes),
        "protocol": source.protocol,
        "trained_on": source.trained_on,
        "validated_on": source.validated_on,
        "recordings": {"train": len(source.frames), "test": len(source.test_frames)},
        "images": len(source.images) if source.images else 0,
        "images_trained_on": to_ranges(source.seen()),
        "test": test,
        "versions": {
            "tmkt": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
    }
