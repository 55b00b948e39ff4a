"""Do all engines compute the same? Exact engines spike by spike, the float network by what quantisation may change."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.deploy.engines import Engine, EngineOutput, open_engine
from tmkt.deploy.evaluate import add_counts, batches, check_samples, wilson
from tmkt.errors import InputError
from tmkt.program import Program

REFERENCE = "simulator"
Progress = Callable[[int, int, None], None]


@dataclass(frozen=True)
class EngineReport:
    """One engine against the reference, over all samples.

    `prediction_agreement`: the share of samples with the reference's class. `spike_mismatches`: neuron-steps that differ, over the layers
    that the engine shows (`layers`), of `spikes_compared`; None if it shows none. `membrane_mismatches`: read-out values that differ (None
    for the float engine, whose read-out is no integer). `first_divergence`: in the first sample that differs, the earliest in steps, then in
    layers: {sample, layer, step, neuron, found, expected}; a read-out value counts as of the last step. `rate_change` (float engine): the
    program's spikes a layer over the float network's, minus 1; None where that is silent. `logit_error` (float engine): RMS difference of
    the logits over their standard deviation; None where the program's read-out has no known scale.
    """

    name: str
    exact: bool
    accuracy: float
    accuracy_ci95: list[float]
    prediction_agreement: float
    spike_mismatches: int | None
    membrane_mismatches: int | None
    first_divergence: dict[str, Any] | None
    layers: list[str]
    spikes_compared: int
    faults: dict[str, int] | None
    rate_change: dict[str, float | None] | None
    logit_error: float | None
    failure: str | None


@dataclass
class _Comparison:
    """What is known of one engine after the batches so far."""

    engine: Engine
    shown: set[str] = field(default_factory=set)
    compared: int = 0
    spike_mismatches: int = 0
    membrane_mismatches: int = 0
    first: dict[str, Any] | None = None
    predictions: list[NDArray[np.int64]] = field(default_factory=list)
    readouts: list[NDArray[Any]] = field(default_factory=list)
    faults: list[dict[str, int] | None] = field(default_factory=list)
    spikes: dict[str, int] = field(default_factory=dict)
    reference_spikes: dict[str, int] = field(default_factory=dict)

    def add(self, program: Program, begin: int, steps: int, found: EngineOutput, expected: EngineOutput) -> None:
        self.predictions.append(found.predictions)
        self.readouts.append(found.readout)
        self.faults.append(found.faults)
        candidates = []
        for order, layer in enumerate(program.layers):
            if layer.name not in found.spikes:
                continue
            ours, theirs = expected.spikes[layer.name], found.spikes[layer.name]
            self.shown.add(layer.name)
            self.compared += ours.size
            for sums, values in ((self.reference_spikes, ours), (self.spikes, theirs)):
                sums[layer.name] = sums.get(layer.name, 0) + int(np.count_nonzero(values))
            if theirs.shape != ours.shape:
                raise ValueError(f"engine {self.engine.name!r} gave spikes {theirs.shape} of layer {layer.name!r}, expected {ours.shape}")
            differs = theirs != ours
            if differs.any():
                self.spike_mismatches += int(differs.sum())
                sample, step, *neuron = (int(i) for i in np.unravel_index(int(differs.argmax()), differs.shape))
                at = (sample, step, *neuron)
                candidates.append((sample, step, order, layer.name, neuron, int(theirs[at]), int(ours[at])))
        if self.engine.exact:
            differs = found.readout != expected.readout
            if differs.any():
                self.membrane_mismatches += int(differs.sum())
                sample, output = (int(i) for i in np.unravel_index(int(differs.argmax()), differs.shape))
                value, right = int(found.readout[sample, output]), int(expected.readout[sample, output])
                candidates.append((sample, steps - 1, len(program.layers), program.layers[-1].name, [output], value, right))
        if candidates and self.first is None:
            sample, step, _, name, neuron, value, right = min(candidates)
            self.first = {"sample": begin + sample, "layer": name, "step": step, "neuron": neuron, "found": value, "expected": right}


def parity(
    bundle: Bundle,
    engines: Sequence[str],
    frames: NDArray[np.uint8],
    labels: NDArray[np.int64],
    max_drop_points: float = 0.5,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compares engines with the simulator over frames uint8 [N, T, 2, H, W] with labels [N], in batches of bounded memory.

    Passed if no exact engine differs in a spike or a read-out value, and the simulator's accuracy is at most `max_drop_points`
    percentage points below the float engine's. One recording more or less never fails: a hundred recordings cannot resolve half a
    point. The simulator among the engines is a second, independent run of the reference. `progress` is told (done, all, None), in
    samples times engines.

    Gives reference, samples, passed, failures (a line each), the reference's accuracy and accuracy_ci95, its faults (wraps, clips and
    read-out values over the threshold: none in a sound program), max_drop_points, and engines: an `EngineReport` each, as dictionaries.
    """
    check_samples(bundle, frames)
    done = 0

    def tell(now: int) -> None:
        if progress:
            progress(done + now, (len(names) + 1) * len(frames), None)

    names = list(dict.fromkeys(engines))
    if not names:
        raise InputError("parity: no engines to compare; choose from --engines simulator,onnx,lava,float")
    comparisons = [_Comparison(open_engine(name, bundle, tell)) for name in names]
    reference = open_engine(REFERENCE, bundle)
    program, expected = bundle.program, []
    for batch in batches(program, frames):
        size = batch.stop - batch.start
        right = reference.run(frames[batch])
        expected.append((right.predictions, right.readout, right.faults))
        done += size
        for comparison in comparisons:
            tell(0)
            comparison.add(program, batch.start, frames.shape[1], comparison.engine.run(frames[batch]), right)
            done += size
    tell(0)
    predictions, readouts, faults = zip(*expected, strict=True)
    answers, readout = np.concatenate(predictions), np.concatenate(readouts)
    correct = int((answers == labels).sum())
    reports = [_report(program, c, answers, readout, labels, correct, max_drop_points) for c in comparisons]
    failures = [report.failure for report in reports if report.failure]
    return {
        "reference": REFERENCE,
        "samples": len(labels),
        "passed": not failures,
        "failures": failures,
        "accuracy": correct / len(labels),
        "accuracy_ci95": list(wilson(correct, len(labels))),
        "faults": add_counts(faults),
        "max_drop_points": max_drop_points,
        "engines": [asdict(report) for report in reports],
    }


def _report(
    program: Program,
    c: _Comparison,
    answers: NDArray[np.int64],
    readout: NDArray[Any],
    labels: NDArray[np.int64],
    reference_correct: int,
    max_drop: float,
) -> EngineReport:
    found, samples = np.concatenate(c.predictions), len(labels)
    correct = int((found == labels).sum())
    lost = correct - reference_correct
    failure = None
    if c.engine.exact and (c.spike_mismatches or c.membrane_mismatches):
        failure = f"{c.engine.name} differs in {c.spike_mismatches} spikes and {c.membrane_mismatches} read-out values"
    if not c.engine.exact and lost > 1 and 100 * lost > max_drop * samples:
        failure = f"the integers lose {100 * lost / samples:.2f} points of accuracy against {c.engine.name}, more than {max_drop:g}"
    return EngineReport(
        name=c.engine.name,
        exact=c.engine.exact,
        accuracy=correct / samples,
        accuracy_ci95=list(wilson(correct, samples)),
        prediction_agreement=float((found == answers).mean()),
        spike_mismatches=c.spike_mismatches if c.shown else None,
        membrane_mismatches=c.membrane_mismatches if c.engine.exact else None,
        first_divergence=c.first,
        layers=[layer.name for layer in program.layers if layer.name in c.shown],
        spikes_compared=c.compared,
        faults=add_counts(tuple(c.faults)),
        rate_change=None if c.engine.exact else {k: c.reference_spikes[k] / n - 1 if n else None for k, n in c.spikes.items()},
        logit_error=None if c.engine.exact else _logit_error(program, np.concatenate(c.readouts), readout),
        failure=failure,
    )


def _logit_error(program: Program, logits: NDArray[Any], readout: NDArray[Any]) -> float | None:
    scale, spread = program.layers[-1].scale, float(logits.std())
    if program.readout != "membrane" or scale is None or spread == 0:
        return None
    return float(np.sqrt(np.mean((readout / (64 * scale) - logits) ** 2))) / spread
