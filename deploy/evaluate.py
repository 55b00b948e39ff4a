"""How well and how fast an engine answers, and what it counted on the way."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from math import sqrt
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.deploy.engines import Engine
from tmkt.deploy.trace import Trace, count, join
from tmkt.errors import InputError
from tmkt.program import Program

Progress = Callable[[int], None]
BATCH_BYTES = 2**28  # of spikes that a batch may take
MOST_SAMPLES = 200  # of a batch: enough for one Lava job, whose start takes about 2 s (measured)


@dataclass(frozen=True)
class Measurement:
    """A run over samples, batch by batch: predictions int64 [N], the read-out [N, K] as `EngineOutput` has it, the trace, what the
    simulator alone counts (None from other engines), and the engine's own time a sample in seconds."""

    predictions: NDArray[np.int64]
    readout: NDArray[Any]
    trace: Trace
    faults: dict[str, int] | None
    active_updates: dict[str, int] | None
    seconds_per_sample: float


@dataclass(frozen=True)
class Evaluation:
    """`tmkt evaluate`, for one engine. `confusion` [K][K] counts samples: rows are the true class, columns the predicted one."""

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


def batches(program: Program, frames: NDArray[np.uint8]) -> Iterator[slice]:
    """Cuts the samples so that no batch's spikes take more than BATCH_BYTES."""
    bytes_a_sample = frames.shape[1] * (int(np.prod(program.input_shape)) + sum(layer.neurons for layer in program.layers))
    size = int(np.clip(BATCH_BYTES // bytes_a_sample, 1, MOST_SAMPLES))
    for begin in range(0, len(frames), size):
        yield slice(begin, min(begin + size, len(frames)))


def check_samples(bundle: Bundle, frames: NDArray[np.uint8]) -> None:
    """Raises InputError unless there is at least one sample and all fit the bundle's input."""
    if len(frames) == 0:
        raise InputError(f"{bundle.path}: no recordings to run; check --data, --split and --limit")
    expected = (bundle.contract.bins, *bundle.contract.shape)
    if frames.dtype != np.uint8 or frames.shape[1:] != expected or frames.max() > bundle.contract.max_count:
        found = f"{frames.dtype} {frames.shape[1:]} up to {frames.max()}"
        raise InputError(f"{bundle.path}: frames {found}, expected uint8 {expected} up to {bundle.contract.max_count}; bin them as the bundle says")


def measure(bundle: Bundle, engine: Engine, frames: NDArray[np.uint8], progress: Progress | None = None) -> Measurement:
    """Runs an engine over frames uint8 [N, T, 2, H, W]. `progress` is told how many samples are done.

    The time leaves out opening the engine, one sample that is run first so that kernels are compiled, and the counting; Lava's time
    holds the start of its process, once a batch.
    """
    check_samples(bundle, frames)
    if engine.name != "lava":
        engine.run(frames[:1])
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
    return Measurement(np.concatenate(predictions), np.concatenate(readout), join(traces), add_counts(faults), add_counts(active), seconds / done)


def add_counts(parts: tuple[dict[str, int] | None, ...]) -> dict[str, int] | None:
    """Sums counters key by key; None if the engine keeps none."""
    known = [part for part in parts if part is not None]
    return {key: sum(part[key] for part in known) for key in known[0]} if known else None


def evaluate(bundle: Bundle, engine: Engine, frames: NDArray[np.uint8], labels: NDArray[np.int64], progress: Progress | None = None) -> Evaluation:
    """Accuracy, counts and time of an engine over frames uint8 [N, T, 2, H, W] with labels [N]. See `measure` for the time."""
    m = measure(bundle, engine, frames, progress)
    correct, classes = int((m.predictions == labels).sum()), bundle.program.classes
    confusion = np.bincount(labels * classes + m.predictions, minlength=classes**2).reshape(classes, classes)
    spikes, synops, updates = (float(m.trace.per_sample(kind).mean()) for kind in ("spikes", "synops", "updates"))
    return Evaluation(
        engine.name,
        len(labels),
        correct / len(labels),
        wilson(correct, len(labels)),
        spikes,
        synops,
        updates,
        m.seconds_per_sample,
        m.faults,
        confusion.tolist(),
    )
