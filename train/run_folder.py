"""The folder of a run: check that a training may write there, write the finished run."""

import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from tmkt import __version__, console, processor
from tmkt.datasets.splits import to_ranges
from tmkt.errors import InputError
from tmkt.files import copy, writing
from tmkt.networks import SpikingNetwork
from tmkt.parts import is_part, remove_leftovers
from tmkt.recipe import Recipe
from tmkt.runs import (
    CALIBRATION,
    CALIBRATION_RECORDINGS,
    INFO,
    LOCK,
    METRICS,
    MODEL,
    RECIPE,
    TENSORBOARD,
    Run,
    load_run,
    load_run_recipe,
)
from tmkt.train.checkpoint import save_tensors
from tmkt.train.chosen import Chosen
from tmkt.train.data import TrainingData
from tmkt.train.lock import Locked, NoLocks, locked
from tmkt.train.measure import measure
from tmkt.train.qat.training import float_network, qat_info

LIBRARIES = ("torch", "spikingjelly", "numpy")  # their versions decide a training's last bits


@contextmanager
def hold_run(out: Path) -> Iterator[None]:
    """Keep other trainings away from the folder of a run, and tidy up what a killed one left there.

    A finished run needs no lock while it is held: nothing changes it. Raises InputError, which
    names the process, where another one trains there, and for a folder of something else. Where the
    file system has no locks, a note says so.
    """
    _check_kind(out)
    if (out / INFO).is_file():
        _tidy_up(out)
        yield
        return
    with ExitStack() as held:
        try:
            out.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(out / LOCK, wait=False))
        except Locked:
            raise InputError(
                f"{out}: {_holder(out)} trains there, expected a folder of its own for each"
                " training; wait until it has ended, stop it, or choose another --out"
            ) from None
        except NoLocks as error:
            console.note(f"{error.args[0].split(',')[0]}: start no second training in {out}")
        except OSError as error:
            raise InputError(
                f"{out}: cannot be written ({error.strerror or error}); free space or choose"
                " another --out"
            ) from error
        with suppress(OSError):  # only for the message of others
            (out / LOCK).write_text(
                f"process {os.getpid()} on {platform.node()}", encoding="utf-8", newline="\n"
            )
        remove_leftovers(out)
        try:
            yield
        finally:
            with suppress(OSError):
                (out / LOCK).unlink(missing_ok=True)  # while it is held
                out.rmdir()  # a training that left nothing


def _tidy_up(out: Path) -> None:
    """Remove what a process left that was killed after it had finished the run, if that can be."""
    if any(is_part(path) or path.name == LOCK for path in out.iterdir()):
        with suppress(Locked, InputError, OSError), locked(out / LOCK, wait=False):
            remove_leftovers(out)
            (out / LOCK).unlink(missing_ok=True)


def _holder(out: Path) -> str:
    """Name the process that holds the lock of a run."""
    with suppress(OSError, ValueError):  # Windows lets nobody read a locked file
        name = (out / LOCK).read_text(encoding="utf-8")
        if name.isprintable() and 0 < len(name) < 200:
            return name
    return "another process"


def forget_run(out: Path, recipe: Recipe) -> None:
    """Remove the run of this recipe at `out`, if there is one.

    Raises InputError for a folder of something else, for a run of another recipe, and where another
    process trains there.
    """
    if not out.exists():
        return
    with hold_run(out):
        if (out / RECIPE).is_file():
            _check_recipe(recipe, out)
        for entry in list(out.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != LOCK:
                entry.unlink()


def remove_started(out: Path) -> None:
    """Remove the files of a training that has learned nothing."""
    with suppress(OSError):
        for name in (METRICS, RECIPE):
            (out / name).unlink(missing_ok=True)
        shutil.rmtree(out / TENSORBOARD, ignore_errors=True)


def _check_kind(out: Path) -> None:
    """Raise InputError for a folder that is neither a run, nor empty, nor a run that was killed
    before its recipe was written.
    """
    if (out / RECIPE).is_file() or not out.exists():
        return
    if not out.is_dir() or any(not is_part(path) and path.name != LOCK for path in out.iterdir()):
        raise InputError(f"{out}: exists and is not a run; choose another --out or remove it")


def open_run(recipe: Recipe, out: Path, resume: bool) -> Run | None:
    """Check that `out` is free or may be resumed; give the run if it is finished already."""
    _check_kind(out)
    if not (out / RECIPE).is_file():
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
    _check_recipe(recipe, out)
    return load_run(out) if finished else None


def _check_recipe(recipe: Recipe, out: Path) -> None:
    """Raise InputError if the run at `out` is of another recipe."""
    old, new = load_run_recipe(out).model_dump(), recipe.model_dump()
    for section, values in new.items():
        for key, value in values.items():
            if old[section][key] != value:
                was = f"was trained with {section}.{key} = {old[section][key]!r}, found {value!r}"
                raise InputError(
                    f"{out}: {was}; resume with the same recipe or choose another --out"
                )


def finish_run(
    out: Path,
    recipe: Recipe,
    source: TrainingData,
    net: SpikingNetwork,
    start: Run | None,
    chosen: Chosen | None = None,
) -> None:
    """Test the trained network and write weights, calibration recordings and run.json.

    run.json comes last: it says that the run is finished. `start` is the run that a training on
    integers went on from, `chosen` the network to take in place of `net`.
    """
    net = net if chosen is None else chosen.net
    with console.progress("test") as progress:
        test = measure(net, source.test_frames, source.test_labels, progress)
    if source.test_are is not None:
        test["recordings"] = source.test_are
    info = run_info(recipe, source, test)
    if chosen is not None:
        info["chosen"] = chosen.describe()
    if start is None:
        frames, labels = source.calibration(CALIBRATION_RECORDINGS)
        calibration = {"frames": torch.from_numpy(frames), "labels": torch.from_numpy(labels)}
        save_tensors(out / CALIBRATION, calibration)
        save_tensors(out / MODEL, net.state_dict())
    else:
        copy(start.path / CALIBRATION, out / CALIBRATION)
        save_tensors(out / MODEL, float_network(net, start).state_dict())
        info = qat_info(info, net, start)
    with writing(out / INFO) as beside:
        beside.write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8", newline="\n")


def run_info(recipe: Recipe, source: TrainingData, test: dict[str, Any]) -> dict[str, Any]:
    """Collect the contents of run.json."""
    tested = sorted(set(source.test_labels.tolist()))
    if len(source.test_labels) and len(tested) < len(source.classes):
        test = {**test, "classes": [source.classes[label] for label in tested]}
    return {
        "dataset": recipe.data.name,
        "sensor": list(source.sensor),
        "classes": list(source.classes),
        "protocol": source.protocol,
        "trained_on": source.trained_on,
        "validated_on": source.validated_on,
        **({} if source.frames_seen is None else {"frames_seen": source.frames_seen}),
        **({} if source.nothing is None else {"nothing": source.nothing}),
        "recordings": {
            "train": int((source.labels != source.nothing).sum()),
            "test": len(source.test_frames),
        },
        "outside_bins": None if source.coverage is None else asdict(source.coverage),
        "images": len(source.images) if source.images else 0,
        "images_trained_on": to_ranges(source.seen()),
        **_started_from(recipe),
        "test": test,
        "versions": {
            "tmkt": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
        "machine": {
            "processor": processor.name(),  # it decides the last bits of a training
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "system": f"{platform.system()} {platform.machine()}",
        },
    }


def _started_from(recipe: Recipe) -> dict[str, Any]:
    """Name the network that a training started from, and its hash; nothing without one."""
    if not recipe.train.init:
        return {}
    return {"init": {"name": recipe.train.init, "sha256": recipe.train.init_sha256}}
