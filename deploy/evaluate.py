"""How well and how fast an engine answers, and what it counted on the way. `shares` runs
recordings, this measures and sums up.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.datasets import Recording
from tmkt.deploy.engines import Engine
from tmkt.deploy.trace import Trace, count, join
from tmkt.errors import InputError
from tmkt.files import writing
from tmkt.program.model import Program

Progress = Callable[[int], None]
BATCH_BYTES = 2**28  # of spikes that a batch may take
MOST_SAMPLES = 200  # of a batch: enough for one Lava job, whose start takes about 2 s (measured)


@dataclass(frozen=True)
class Measurement:
    """A run over samples, batch by batch: predictions int64 [N], the read-out [N, K] as
    `EngineOutput` has it, the trace, what the simulator alone counts (None from other engines), and
    the engine's own time a sample in seconds.
    """

    predictions: NDArray[np.int64]
    readout: NDArray[Any]
    trace: Trace
    faults: dict[str, int] | None
    active_updates: dict[str, int] | None
    seconds_per_sample: float


@dataclass(frozen=True)
class Answers:
    """What is kept of every sample: predictions, spikes, synaptic operations and neuron updates,
    int64 [N] each, and the read-out [N, K]. Of all together: the faults and the engine's own time
    in seconds.
    """

    predictions: NDArray[np.int64]
    readout: NDArray[Any]
    spikes: NDArray[np.int64]
    synops: NDArray[np.int64]
    updates: NDArray[np.int64]
    faults: dict[str, int] | None
    seconds: float


@dataclass(frozen=True)
class Evaluation:
    """`tmkt evaluate`, for one engine. `confusion` [K][K] counts samples: rows are the true class,
    columns the predicted one.
    """

    engine: str
    samples: int
    accuracy: float
    accuracy_ci95: tuple[float, float]
    spikes_per_sample: float
    synops_per_sample: float
    neuron_updates_per_sample: float
    seconds_per_sample: float
    faults: dict[str, int] | None
    confusion: list[list[int]]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "accuracy_ci95": list(self.accuracy_ci95)}


def wilson(correct: int, samples: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share, by Wilson's score (J. Am. Stat. Assoc. 22, 1927)."""
    z = 1.959963984540054
    p, z2n = correct / samples, z * z / samples
    middle = (p + z2n / 2) / (1 + z2n)
    half = z * sqrt(p * (1 - p) / samples + z2n / (4 * samples)) / (1 + z2n)
    return max(0.0, middle - half), min(1.0, middle + half)


def batch_size(program: Program, steps: int) -> int:
    """How many samples of `steps` steps may run at once, so that their frames and spikes take no
    more than BATCH_BYTES; at least one.
    """
    bytes_a_sample = steps * (
        int(np.prod(program.input_shape)) + sum(layer.neurons for layer in program.layers)
    )
    return int(np.clip(BATCH_BYTES // bytes_a_sample, 1, MOST_SAMPLES))


def batches(program: Program, frames: NDArray[np.uint8]) -> Iterator[slice]:
    """Cuts the samples into batches of `batch_size`."""
    size = batch_size(program, frames.shape[1])
    for begin in range(0, len(frames), size):
        yield slice(begin, min(begin + size, len(frames)))


def check_samples(bundle: Bundle, frames: NDArray[np.uint8]) -> None:
    """Raises InputError unless there is at least one sample and all fit the bundle's input."""
    if len(frames) == 0:
        raise InputError(f"{bundle.path}: no recordings to run; check --data, --split and --limit")
    expected = (bundle.contract.bins, *bundle.contract.shape)
    if (
        frames.dtype != np.uint8
        or frames.shape[1:] != expected
        or frames.max() > bundle.contract.max_count
    ):
        found = f"{frames.dtype} {frames.shape[1:]} up to {frames.max()}"
        raise InputError(
            f"{bundle.path}: frames {found}, expected uint8 {expected} up to"
            f" {bundle.contract.max_count}; bin them as the bundle says"
        )


def measure(
    bundle: Bundle, engine: Engine, frames: NDArray[np.uint8], progress: Progress | None = None
) -> Measurement:
    """Runs an engine over frames uint8 [N, T, 2, H, W]. `progress` is told how many samples are
    done.

    The time leaves out the counting; Lava's time holds the start of its process, once a batch.
    """
    check_samples(bundle, frames)
    seconds, done, outputs, traces = 0.0, 0, [], []
    for batch in batches(bundle.program, frames):
        begin = perf_counter()
        output = engine.run(frames[batch])
        seconds += perf_counter() - begin
        traces.append(count(bundle.program, frames[batch], output.spikes))
        outputs.append((output.predictions, output.readout, output.faults, output.active_updates))
        done = batch.stop
        if progress:
            progress(done)
    predictions, readout, faults, active = zip(*outputs, strict=True)
    return Measurement(
        np.concatenate(predictions),
        np.concatenate(readout),
        join(traces),
        add_counts(faults),
        add_counts(active),
        seconds / done,
    )


def add_counts(parts: tuple[dict[str, int] | None, ...]) -> dict[str, int] | None:
    """Sums counters key by key; None if the engine keeps none."""
    known = [part for part in parts if part is not None]
    return {key: sum(part[key] for part in known) for key in known[0]} if known else None


def answers_of(m: Measurement) -> Answers:
    """A measurement without its trace by layer and step, which ten thousand samples would fill the
    memory with.
    """
    spikes, synops, updates = (m.trace.per_sample(kind) for kind in ("spikes", "synops", "updates"))
    return Answers(
        m.predictions,
        m.readout,
        spikes,
        synops,
        updates,
        m.faults,
        m.seconds_per_sample * m.trace.samples,
    )


def join_answers(parts: Sequence[Answers]) -> Answers:
    """The answers to several parts, one after another."""
    arrays = {
        kind: np.concatenate([getattr(part, kind) for part in parts])
        for kind in ("predictions", "readout", "spikes", "synops", "updates")
    }
    return Answers(
        **arrays,
        faults=add_counts(tuple(part.faults for part in parts)),
        seconds=sum(part.seconds for part in parts),
    )


def evaluate(engine: str, classes: int, answers: Answers, labels: NDArray[np.int64]) -> Evaluation:
    """Accuracy, counts and time of what an engine answered to samples with labels [N]."""
    samples, correct = len(labels), int((answers.predictions == labels).sum())
    confusion = np.bincount(labels * classes + answers.predictions, minlength=classes**2).reshape(
        classes, classes
    )
    return Evaluation(
        engine,
        samples,
        correct / samples,
        wilson(correct, samples),
        float(answers.spikes.mean()),
        float(answers.synops.mean()),
        float(answers.updates.mean()),
        answers.seconds / samples,
        answers.faults,
        confusion.tolist(),
    )


def write_results(path: Path, recordings: Sequence[Recording], answers: Answers) -> None:
    """Writes a JSON line a recording. A recording is named by the last three parts of its path, as
    in "Test/7/00001.bin", which are the same wherever the data lies. The bytes depend on the
    bundle, the engine and the recordings alone. InputError where the disk refuses.
    """
    columns = (answers.predictions, answers.readout, answers.spikes, answers.synops)
    with writing(path) as beside, open(beside, "w", encoding="utf-8") as file:
        for recording, prediction, readout, spikes, synops in zip(
            recordings, *(column.tolist() for column in columns), strict=True
        ):
            name = "/".join(recording.path.parts[-3:])
            line = {
                "recording": name,
                "label": recording.label,
                "prediction": prediction,
                "readout": readout,
                "spikes": spikes,
                "synops": synops,
            }
            file.write(json.dumps(line) + "\n")
