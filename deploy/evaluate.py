"""Accuracy, time and operation counts of an engine: run it, sum up, write the results.

`shards.py` reads and runs recordings through the functions here.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.datasets.types import Recording
from tmkt.deploy.engines.types import Engine
from tmkt.deploy.trace import Trace, count, join
from tmkt.errors import InputError
from tmkt.events.coverage import Extent
from tmkt.files import writing
from tmkt.kernels import working_time_s
from tmkt.program.model import Program

Progress = Callable[[int], None]
BATCH_BYTES = 2**28  # of spikes that a batch may take
MOST_SAMPLES = 200  # of a batch: enough for one Lava job, whose start takes about 2 s (measured)


@dataclass(frozen=True)
class Measurement:
    """The result of running an engine over N samples.

    `predictions` int64 [N]; `readout` [N, K] as in `EngineOutput`; `faults` and `active_updates`:
    what only the simulator counts, None from other engines; `seconds_per_sample`: time spent in
    the engine.
    """

    predictions: NDArray[np.int64]
    readout: NDArray[Any]
    trace: Trace
    faults: dict[str, int] | None
    active_updates: dict[str, int] | None
    seconds_per_sample: float


@dataclass(frozen=True)
class Answers:
    """Answers to every sample, without the trace by layer and step.

    `predictions`, `spikes`, `synops` (synaptic operations) and `updates` (neuron updates) int64
    [N]; `readout` [N, K]. `faults` and `seconds` (in the engine) are of all samples together, and
    so are `layer_spikes`, by layer, and `input_spikes`: what the first layer was sent.
    `extents`: one a recording, if these were read.
    """

    predictions: NDArray[np.int64]
    readout: NDArray[Any]
    spikes: NDArray[np.int64]
    synops: NDArray[np.int64]
    updates: NDArray[np.int64]
    faults: dict[str, int] | None
    seconds: float
    layer_spikes: dict[str, int]
    input_spikes: int
    extents: tuple[Extent, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """The report of `tmkt evaluate` on one engine.

    `confusion` [K][K] counts samples: rows are the true class, columns the predicted one.
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
    """Return the 95 % confidence interval of a proportion, by Wilson's score.

    Source: J. Am. Stat. Assoc. 22, 1927.
    """
    z = 1.959963984540054
    p, z2n = correct / samples, z * z / samples
    middle = (p + z2n / 2) / (1 + z2n)
    half = z * sqrt(p * (1 - p) / samples + z2n / (4 * samples)) / (1 + z2n)
    return max(0.0, middle - half), min(1.0, middle + half)


def batch_size(program: Program, steps: int) -> int:
    """Return how many samples of `steps` steps may run at once, at least one.

    Their frames and spikes take at most BATCH_BYTES.
    """
    bytes_a_sample = steps * (
        int(np.prod(program.input_shape)) + sum(layer.neurons for layer in program.layers)
    )
    return int(np.clip(BATCH_BYTES // bytes_a_sample, 1, MOST_SAMPLES))


def batches(program: Program, frames: NDArray[np.uint8]) -> Iterator[slice]:
    """Cut the samples into batches of `batch_size`."""
    size = batch_size(program, frames.shape[1])
    for begin in range(0, len(frames), size):
        yield slice(begin, min(begin + size, len(frames)))


def check_samples(bundle: Bundle, frames: NDArray[np.uint8]) -> None:
    """Raise InputError unless there is at least one sample and all fit the bundle's input."""
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
    """Run an engine over frames uint8 [N, T, 2, H, W], in batches.

    `progress` is called with the number of samples done. The time excludes counting; Lava's time
    includes the start of its process, once a batch.
    """
    check_samples(bundle, frames)
    seconds, done, outputs, traces = 0.0, 0, [], []
    for batch in batches(bundle.program, frames):
        begin = working_time_s()
        output = engine.run(frames[batch])
        seconds += working_time_s() - begin
        traces.append(count(bundle.program, frames[batch], output.spikes))
        outputs.append((output.predictions, output.readout, output.faults, output.active_updates))
        done = batch.stop
        if progress:
            progress(done)
    predictions, readout, faults, active = zip(*outputs, strict=True)
    return Measurement(
        predictions=np.concatenate(predictions),
        readout=np.concatenate(readout),
        trace=join(traces),
        faults=add_counts(faults),
        active_updates=add_counts(active),
        seconds_per_sample=seconds / done,
    )


def add_counts(parts: tuple[dict[str, int] | None, ...]) -> dict[str, int] | None:
    """Sum counters key by key; None if the engine keeps none."""
    known = [part for part in parts if part is not None]
    return sum_counts(known) if known else None


def sum_counts(parts: Sequence[dict[str, int]]) -> dict[str, int]:
    """Sum counters key by key."""
    return {key: sum(part[key] for part in parts) for key in parts[0]}


def answers_of(m: Measurement, extents: Sequence[Extent] = ()) -> Answers:
    """Reduce a measurement, of recordings of these extents, to what is kept.

    The traces of ten thousand samples would fill the memory.
    """
    spikes, synops, updates = (m.trace.per_sample(kind) for kind in ("spikes", "synops", "updates"))
    return Answers(
        predictions=m.predictions,
        readout=m.readout,
        spikes=spikes,
        synops=synops,
        updates=updates,
        faults=m.faults,
        seconds=m.seconds_per_sample * m.trace.samples,
        layer_spikes={layer.name: int(layer.spikes.sum()) for layer in m.trace.layers},
        # The first layer reads the input alone, and itself where it is recurrent.
        input_spikes=int(m.trace.layers[0].source_spikes.sum()),
        extents=tuple(extents),
    )


def join_answers(parts: Sequence[Answers]) -> Answers:
    """Join the answers to several parts, one after another."""
    arrays = {
        kind: np.concatenate([getattr(part, kind) for part in parts])
        for kind in ("predictions", "readout", "spikes", "synops", "updates")
    }
    return Answers(
        **arrays,
        faults=add_counts(tuple(part.faults for part in parts)),
        seconds=sum(part.seconds for part in parts),
        layer_spikes=sum_counts([part.layer_spikes for part in parts]),
        input_spikes=sum(part.input_spikes for part in parts),
        extents=tuple(extent for part in parts for extent in part.extents),
    )


def evaluate(engine: str, classes: int, answers: Answers, labels: NDArray[np.int64]) -> Evaluation:
    """Sum up an engine's answers to samples with labels int64 [N]."""
    samples, correct = len(labels), int((answers.predictions == labels).sum())
    confusion = np.bincount(labels * classes + answers.predictions, minlength=classes**2).reshape(
        classes, classes
    )
    return Evaluation(
        engine=engine,
        samples=samples,
        accuracy=correct / samples,
        accuracy_ci95=wilson(correct, samples),
        spikes_per_sample=float(answers.spikes.mean()),
        synops_per_sample=float(answers.synops.mean()),
        neuron_updates_per_sample=float(answers.updates.mean()),
        seconds_per_sample=answers.seconds / samples,
        faults=answers.faults,
        confusion=confusion.tolist(),
    )


def write_results(path: Path, recordings: Sequence[Recording], answers: Answers) -> None:
    """Write one JSON line a recording.

    A recording is named by its title, as in "Test/7/00001.bin". The bytes depend on bundle, engine
    and recordings alone. Raises InputError if the file cannot be written.
    """
    columns = (answers.predictions, answers.readout, answers.spikes, answers.synops)
    with writing(path) as beside, open(beside, "w", encoding="utf-8", newline="\n") as file:
        for recording, prediction, readout, spikes, synops in zip(
            recordings, *(column.tolist() for column in columns), strict=True
        ):
            line = {
                "recording": recording.title,
                "label": recording.label,
                "prediction": prediction,
                "readout": readout,
                "spikes": spikes,
                "synops": synops,
            }
            file.write(json.dumps(line) + "\n")
