"""The folder of a run: check that a training may write there, write the finished run."""

import json
import platform
import shutil
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from tmkt import __version__
from tmkt.datasets.splits import to_ranges
from tmkt.errors import InputError
from tmkt.files import writing
from tmkt.networks import SpikingNetwork
from tmkt.recipe import Recipe
from tmkt.runs import (
    CALIBRATION,
    CALIBRATION_RECORDINGS,
    INFO,
    METRICS,
    MODEL,
    RECIPE,
    TENSORBOARD,
    Run,
    load_run,
    load_run_recipe,
)
from tmkt.train.checkpoint import save_tensors
from tmkt.train.data import TrainingData
from tmkt.train.measure import measure
from tmkt.train.qat.training import float_network, qat_info

LIBRARIES = ("torch", "spikingjelly", "numpy")  # their versions decide a training's last bits


def remove_started(out: Path) -> None:
    """Remove the files of a training that has learned nothing."""
    with suppress(OSError):
        for name in (METRICS, RECIPE):
            (out / name).unlink(missing_ok=True)
        shutil.rmtree(out / TENSORBOARD, ignore_errors=True)
        out.rmdir()


def open_run(recipe: Recipe, out: Path, resume: bool) -> Run | None:
    """Check that `out` is free or may be resumed; give the run if it is finished already."""
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


def finish_run(
    out: Path, recipe: Recipe, source: TrainingData, net: SpikingNetwork, start: Run | None
) -> None:
    """Test the trained network and write weights, calibration recordings and run.json.

    run.json comes last: it says that the run is finished. `start` is the run that a training on
    integers went on from.
    """
    test = measure(net, source.test_frames, source.test_labels)
    info = run_info(recipe, source, test)
    if start is None:
        frames, labels = source.calibration(CALIBRATION_RECORDINGS)
        calibration = {"frames": torch.from_numpy(frames), "labels": torch.from_numpy(labels)}
        save_tensors(out / CALIBRATION, calibration)
        save_tensors(out / MODEL, net.state_dict())
    else:
        shutil.copyfile(start.path / CALIBRATION, out / CALIBRATION)
        save_tensors(out / MODEL, float_network(net, start).state_dict())
        info = qat_info(info, net, start)
    with writing(out / INFO) as beside:
        beside.write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")


def run_info(recipe: Recipe, source: TrainingData, test: dict[str, Any]) -> dict[str, Any]:
    """Collect the contents of run.json."""
    return {
        "dataset": recipe.data.name,
        "sensor": list(source.sensor),
        "classes": list(source.classes),
        "protocol": source.protocol,
        "trained_on": source.trained_on,
        "validated_on": source.validated_on,
        "recordings": {"train": len(source.frames), "test": len(source.test_frames)},
        "outside_bins": None if source.coverage is None else asdict(source.coverage),
        "images": len(source.images) if source.images else 0,
        "images_trained_on": to_ranges(source.seen()),
        "test": test,
        "versions": {
            "tmkt": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
    }
