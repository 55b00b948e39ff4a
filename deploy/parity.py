"""Do all engines compute the same? Exact engines spike by spike, the float network by what quantisation may change."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.deploy.engines import Engine, EngineOutput, open_engine
from tmkt.deploy.evaluate import Progress, add_counts, batches, check_samples, wilson
from tmkt.errors import InputError
from tmkt.program import Program

REFERENCE = "simulator"


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
    accuracy_ci95: tuple[float, float]
    prediction_agreement: float
    spike_mismatches: int | None
    membrane_mismatches: int | None
    first_divergence: dict[str, Any] | None
    layers: list[str]
    spikes_compared: int
    faults: dict[str, int] | None
    rate_change: dict[str, float | None] | None
    logit_error: float | None
    passed: bool


@dataclass(frozen=True)
class ParityReport:
    """`tmkt parity`. `faults`: wraps, clips and read-out values over threshold that the reference met (0 in a sound program)."""

    reference: str
    samples: int
    passed: bool
    accuracy: float
    accuracy_ci95: tuple[float, float]
    max_drop_points: float
    faults: dict[str, int]
    engines: list[EngineReport]

    def to_json(self) -> dict[str, Any]:
        report = asdict(self)
        for part in (report, *report["engines"]):
            part["accuracy_ci95"] = list(part["accuracy_ci95"])
        return report


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
                values = int(found.readout[sample, output]), int(expected.readout[sample, output])
                candidates.append((sample, steps - 1, len(program.layers), program.layers[-1].name, [output], *values))
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
) -> ParityReport:
    """Compares engines with the simulator over frames uint8 [N, T, 2, H, W] with labels [N], in batches of bounded memory.

    Passed if no exact engine differs in a spike or a read-out value, and the simulator's accuracy is at most `max_drop_points`
    percentage points below the float engine's. One recording more or less never fails: a hundred recordings cannot resolve half a
    point. The simulator among the engines is a second, independent run of the reference. `progress` is told how many samples are done.
    """
    check_samples(bundle, frames)
    names = list(dict.fromkeys(engines))
    if not names:
        raise InputError("parity: no engines to compare; choose from --engines simulator,onnx,lava,float")
    comparisons = [_Comparison(open_engine(name, bundle)) for name in names]
    reference = open_engine(REFERENCE, bundle)
    program, expected = bundle.program, []
    for batch in batches(program, frames):
        right = reference.run(frames[batch])
        expected.append((right.predictions, right.readout, right.faults))
        for comparison in comparisons:
            comparison.add(program, batch.start, frames.shape[1], comparison.engine.run(frames[batch]), right)
        if progress:
            progress(batch.stop)
    parts, readouts, faults = zip(*expected, strict=True)
    predictions, readout = np.concatenate(parts), np.concatenate(readouts)
    correct = int((predictions == labels).sum())
    reports = [_report(program, c, predictions, readout, labels, correct, max_drop_points) for c in comparisons]
    return ParityReport(
        REFERENCE,
        len(labels),
        all(report.passed for report in reports),
        correct / len(labels),
        wilson(correct, len(labels)),
        max_drop_points,
        add_counts(faults) or {},
        reports,
    )


def _report(
    program: Program,
    c: _Comparison,
    predictions: NDArray[np.int64],
    readout: NDArray[Any],
    labels: NDArray[np.int64],
    reference_correct: int,
    max_drop: float,
) -> EngineReport:
    found, samples = np.concatenate(c.predictions), len(labels)
    correct = int((found == labels).sum())
    lost = correct - reference_correct
    if c.engine.exact:
        passed = c.spike_mismatches == 0 and c.membrane_mismatches == 0
    else:
        passed = lost <= 1 or 100 * lost <= max_drop * samples
    return EngineReport(
        name=c.engine.name,
        exact=c.engine.exact,
        accuracy=correct / samples,
        accuracy_ci95=wilson(correct, samples),
        prediction_agreement=float((found == predictions).mean()),
        spike_mismatches=c.spike_mismatches if c.shown else None,
        membrane_mismatches=c.membrane_mismatches if c.engine.exact else None,
        first_divergence=c.first,
        layers=[layer.name for layer in program.layers if layer.name in c.shown],
        spikes_compared=c.compared,
        faults=add_counts(tuple(c.faults)),
        rate_change=None if c.engine.exact else {k: c.reference_spikes[k] / n - 1 if n else None for k, n in c.spikes.items()},
        logit_error=None if c.engine.exact else _logit_error(program, np.concatenate(c.readouts), readout),
        passed=passed,
    )


def _logit_error(program: Program, logits: NDArray[Any], readout: NDArray[Any]) -> float | None:
    scale, spread = program.layers[-1].scale, float(logits.std())
    if program.readout != "membrane" or scale is None or spread == 0:
        return None
    return float(np.sqrt(np.mean((readout / (64 * scale) - logits) ** 2))) / spread
