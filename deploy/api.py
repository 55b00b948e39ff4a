"""The interface for notebooks: plain functions and dataclasses for bundles.

`from tmkt import load, read_recordings, run, ...` gives them. `pandas.DataFrame` takes lists of
these dataclasses as rows. docs/python.md shows all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.datasets.reading import load_frames
from tmkt.datasets.seen import recordings_of
from tmkt.deploy.energy import report as energy_report
from tmkt.deploy.engines.registry import open_engine
from tmkt.deploy.engines.types import EngineOutput
from tmkt.deploy.evaluate import Evaluation, answers_of, check_samples, measure
from tmkt.deploy.evaluate import evaluate as summarise
from tmkt.deploy.parity import report as parity_report
from tmkt.deploy.parity.report import EngineReport
from tmkt.deploy.trace import Trace
from tmkt.errors import InputError
from tmkt.runs import INFO, RECIPE, Run, load_run


@dataclass(frozen=True)
class Recordings:
    """Recordings as a bundle's network takes them.

    `frames` uint8 [N, T, 2, H, W], `labels` int64 [N]. `names`: the last three parts of each
    recording's path, as in "Test/7/00001.bin".
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Parity:
    """Result of comparing engines with the simulator.

    `failures`: one line each; `engines`: an `EngineReport` an engine.
    """

    passed: bool
    failures: list[str]
    engines: list[EngineReport]


@dataclass(frozen=True)
class EnergyEstimate:
    """Estimate of one inference by one estimator, mean over the recordings.

    Joules with the interval of the estimator's own assumptions and the standard deviation over the
    recordings (None for one recording), what the estimate includes and leaves out, and the source
    of its constants. If the estimator cannot say anything, the joules are None and `reason` says
    why.
    """

    estimator: str
    device: str
    energy_j: float | None
    low_j: float | None
    high_j: float | None
    sd_j: float | None
    includes: tuple[str, ...]
    excludes: tuple[str, ...]
    source: str | None
    reason: str | None = None


def load(path: str | Path) -> Bundle | Run:
    """Open and check a bundle (from `tmkt export`) or a finished run (from `tmkt train`).

    Raises InputError for anything else.
    """
    folder = Path(path)
    if (folder / bundles.MANIFEST).is_file():
        return bundles.load(folder)
    if (folder / RECIPE).is_file() or (folder / INFO).is_file():
        return load_run(folder)
    found = "holds neither" if folder.is_dir() else "no such folder"
    raise InputError(
        f"{folder}: {found}, expected a bundle ({bundles.MANIFEST}) or a run ({RECIPE}); make one"
        " with tmkt train, tmkt export"
    )


def read_recordings(
    bundle: Bundle, data: str | Path, split: str = "test", limit: int | None = None
) -> Recordings:
    """Read recordings of the bundle's data set from a folder.

    `split`: "test", recordings that were not trained on; "train", those that were; "all". `limit`:
    at most so many, the same ones every time. Raises InputError if there are none.
    """
    chosen = recordings_of(bundle.manifest, Path(data), split, limit)
    frames, labels = load_frames(chosen, bundle.contract)
    return Recordings(frames, labels, tuple(recording.title for recording in chosen))


def run(
    bundle: Bundle, samples: Recordings | NDArray[np.uint8], engine: str = "simulator"
) -> EngineOutput:
    """Run recordings, or frames uint8 [N, T, 2, H, W], on an engine.

    Gives the read-out, the predictions and all spikes of all layers, which take N x T bytes of
    memory a neuron. `evaluate` is for thousands of recordings.
    """
    frames = samples.frames if isinstance(samples, Recordings) else samples
    check_samples(bundle, frames)
    return open_engine(engine, bundle).run(frames)


def evaluate(bundle: Bundle, samples: Recordings, engine: str = "simulator") -> Evaluation:
    """Measure accuracy with its 95 % interval, confusion matrix, counts and time.

    It runs in batches of bounded memory, as `tmkt evaluate` does.
    """
    answers = answers_of(measure(bundle, open_engine(engine, bundle), samples.frames))
    return summarise(engine, bundle.program.classes, answers, samples.labels)


def trace(bundle: Bundle, samples: Recordings) -> Trace:
    """Count spikes, synaptic operations and neuron updates on the simulator.

    Counts are by layer, recording and time step.
    """
    return measure(bundle, open_engine("simulator", bundle), samples.frames).trace


def parity(
    bundle: Bundle,
    samples: Recordings,
    engines: Sequence[str] = ("onnx", "float"),
    max_drop: float = 0.5,
) -> Parity:
    """Compare engines with the simulator, spike by spike.

    `max_drop` is the accuracy that may be lost, in points. docs/parity.md.
    """
    report = parity_report.parity(bundle, engines, samples.frames, samples.labels, max_drop)
    return Parity(
        report["passed"], report["failures"], [EngineReport(**entry) for entry in report["engines"]]
    )


def energy(
    bundle: Bundle, samples: Recordings, devices: Sequence[str] = ("loihi1",)
) -> list[EnergyEstimate]:
    """Estimate the energy of an inference with every estimator of the devices.

    The 45 nm proxies are always added: estimators differ by orders of magnitude, so one alone says
    little. docs/energy.md.
    """
    report = energy_report.energy(bundle, devices, samples.frames, samples.labels)
    return [_estimate(entry) for entry in report["estimates"]] + [
        _unknown(entry) for entry in report["unknown"]
    ]


def _estimate(entry: dict[str, Any]) -> EnergyEstimate:
    figures = {
        key: entry[key]
        for key in ("estimator", "device", "energy_j", "low_j", "high_j", "sd_j", "source")
    }
    return EnergyEstimate(
        **figures, includes=tuple(entry["includes"]), excludes=tuple(entry["excludes"])
    )


def _unknown(entry: dict[str, str]) -> EnergyEstimate:
    return EnergyEstimate(
        estimator=entry["estimator"],
        device=entry["device"],
        energy_j=None,
        low_j=None,
        high_j=None,
        sd_j=None,
        includes=(),
        excludes=(),
        source=None,
        reason=entry["reason"],
    )
