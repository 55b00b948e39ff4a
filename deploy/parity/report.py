"""Parity report: integer engines must give equal spikes, the float network may differ by rounding.

docs/parity.md describes the report.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.deploy.engines.registry import open_engine
from tmkt.deploy.engines.types import Engine, EngineOutput
from tmkt.deploy.evaluate import add_counts, batches, check_samples, wilson
from tmkt.deploy.parity.compare import Comparison
from tmkt.deploy.parity.statistics import mcnemar
from tmkt.deploy.warnings import layer_warnings
from tmkt.errors import InputError
from tmkt.pace import Pace
from tmkt.program.model import Program

REFERENCE = "simulator"
# Recordings that rounding may lose: one of eight networks that lose nothing loses three and wins
# none by chance (sign test).
CHANCE = 3
Progress = Callable[[int, int, None, float | None], None]


@dataclass(frozen=True)
class EngineReport:
    """Comparison of one engine with the reference, over all samples.

    `prediction_agreement`: the share of samples with the reference's class, with its 95 % interval.
    `mcnemar`: samples that only the reference or only the engine got right, and the exact two-sided
    p-value that both are equally often right. `spike_mismatches`: neuron-steps that differ, over
    the layers that the engine shows, of `spikes_compared`; None if it shows none.
    `membrane_mismatches`: read-out values that differ (None for the float engine, whose read-out is
    no integer). `layers`: both by layer (`compare.LayerCounts`). `first_divergence`: in the first
    sample that differs, the earliest in steps, then in layers: {sample, layer, step, neuron, found,
    expected} and its diagnosis (`diagnose.diagnose`); a read-out value counts as of the last step.
    Of the float engine: the first layer that differs by more than rounding does, where a cause
    explains it. `rate_change` (float engine): the program's spikes a layer over the float
    network's, minus 1; None where that is silent. `logit_error` (float engine): RMS difference of
    the logits over their standard deviation, `logit_gap` the largest difference in the same unit;
    None where the program's read-out has no known scale.
    """

    name: str
    exact: bool
    accuracy: float
    accuracy_ci95: list[float]
    prediction_agreement: float
    prediction_agreement_ci95: list[float]
    mcnemar: dict[str, float]
    spike_mismatches: int | None
    membrane_mismatches: int | None
    first_divergence: dict[str, Any] | None
    layers: list[dict[str, Any]]
    spikes_compared: int
    faults: dict[str, int] | None
    rate_change: dict[str, float | None] | None
    logit_error: float | None
    logit_gap: float | None
    failures: list[str]


def parity(
    bundle: Bundle,
    engines: Sequence[str],
    frames: NDArray[np.uint8],
    labels: NDArray[np.int64],
    max_drop_points: float = 0.5,
    progress: Progress | None = None,
    max_mismatches: int = 0,
) -> dict[str, Any]:
    """Compare engines with the simulator over frames uint8 [N, T, 2, H, W] with labels int64 [N].

    Samples run in batches of bounded memory. The comparison passes if

    - no exact engine differs in more than `max_mismatches` spikes and read-out values together,
    - no exact engine's accuracy is more than `max_drop_points` percentage points below the
      simulator's, and the simulator's not more than that below the float engine's,
    - the float engine differs by no more than rounding explains.

    One recording more or less never fails, nor do three against float: a hundred recordings cannot
    resolve half a point. If the simulator is among the engines, it runs a second time. `progress`
    is called with (done, all, None, seconds left by the speed of each engine or None), in samples
    times engines.

    Returns reference, samples, passed, failures (a line each), the reference's accuracy and
    accuracy_ci95, its faults (wraps, clips and read-out values over the threshold: none in a sound
    program), max_drop_points, max_mismatches, engines: an `EngineReport` each, as dictionaries, and
    warnings (lines): silent and saturated layers, and what the manifest does not tell.
    """
    check_samples(bundle, frames)
    done, running = 0, ""

    def tell(of_slow: bool = False) -> None:
        if progress:
            left = {name: pace.left_s(len(frames)) for name, pace in paces.items()}
            known = [seconds for seconds in left.values() if seconds is not None]
            # Engines that have not run yet are quick beside one that tells of single recordings.
            enough = left[running] is not None if of_slow else len(known) == len(left)
            left_s = sum(known) if enough else None
            progress(done, (len(names) + 1) * len(frames), None, left_s)

    def run(name: str, engine: Engine, batch: slice) -> EngineOutput:
        nonlocal done, running
        running, before = name, done
        paces[name].resume()
        output = engine.run(frames[batch])
        paces[name].report(batch.stop)
        paces[name].pause()
        done = before + batch.stop - batch.start
        tell()
        return output

    def tell_of_running(now: int) -> None:
        nonlocal done
        done += batch.start + now - paces[running].done
        paces[running].report(batch.start + now)
        tell(of_slow=True)

    names = list(dict.fromkeys(engines))
    if not names:
        raise InputError(
            "parity: no engines to compare; choose from --engines simulator,onnx,lava,float"
        )
    program, expected = bundle.program, []
    sent: Counter[str] = Counter()
    entries = bundle.manifest["quantisation"]
    comparisons = [
        Comparison(open_engine(name, bundle, tell_of_running), program, entries) for name in names
    ]
    reference = open_engine(REFERENCE, bundle)
    paces = {name: Pace(paused=True) for name in ("", *names)}  # "": the reference's
    for batch in batches(program, frames):
        right = run("", reference, batch)
        expected.append((right.predictions, right.readout, right.faults))
        sent.update({name: int(spikes.sum()) for name, spikes in right.spikes.items()})
        for comparison in comparisons:
            output = run(comparison.engine.name, comparison.engine, batch)
            comparison.add(batch.start, frames[batch], output, right)
    predictions, readouts, faults = zip(*expected, strict=True)
    answers, readout = np.concatenate(predictions), np.concatenate(readouts)
    correct = int((answers == labels).sum())
    reports = [
        _report(
            c,
            answers,
            readout=readout,
            labels=labels,
            max_drop=max_drop_points,
            max_mismatches=max_mismatches,
        )
        for c in comparisons
    ]
    events = int(np.count_nonzero(frames))
    failures = [failure for report in reports for failure in report.failures]
    return {
        "reference": REFERENCE,
        "samples": len(labels),
        "passed": not failures,
        "failures": failures,
        "accuracy": correct / len(labels),
        "accuracy_ci95": list(wilson(correct, len(labels))),
        "faults": add_counts(faults),
        "max_drop_points": max_drop_points,
        "max_mismatches": max_mismatches,
        "engines": [asdict(report) for report in reports],
        "warnings": [
            *layer_warnings(program, frames.shape[1], len(frames), events, sent),
            *_not_known(entries, all(report.exact for report in reports)),
        ],
    }


def _not_known(entries: Sequence[Mapping[str, Any]], exact: bool) -> list[str]:
    """Say what a manifest of version 0.1 does not tell, where the float network is compared."""
    made = [entry for entry in entries if entry.get("bits", 8) is not None]
    if exact or all("bias_correction" in entry for entry in made):
        return []
    return [
        "note: the manifest does not say how the bias was corrected, as those of version 0.1: a"
        " float network without its bias is not found, and other faults of it less surely; export"
        " again to have both"
    ]


def _report(
    c: Comparison,
    answers: NDArray[np.int64],
    readout: NDArray[Any],
    labels: NDArray[np.int64],
    max_drop: float,
    max_mismatches: int,
) -> EngineReport:
    found, samples, exact = np.concatenate(c.predictions), len(labels), c.engine.exact
    correct, agreeing = int((found == labels).sum()), int((found == answers).sum())
    only_reference, only_engine, p = mcnemar(answers == labels, found == labels)
    gaps = None if exact else _logit_gaps(c.program, np.concatenate(c.readouts), readout)
    return EngineReport(
        name=c.engine.name,
        exact=exact,
        accuracy=correct / samples,
        accuracy_ci95=list(wilson(correct, samples)),
        prediction_agreement=agreeing / samples,
        prediction_agreement_ci95=list(wilson(agreeing, samples)),
        mcnemar={"only_reference": only_reference, "only_engine": only_engine, "p": p},
        spike_mismatches=c.total("spike_mismatches") if c.shows_spikes else None,
        membrane_mismatches=c.total("membrane_mismatches") if exact else None,
        first_divergence=c.first,
        layers=c.to_json(),
        spikes_compared=c.total("spikes_compared"),
        faults=add_counts(tuple(c.faults)),
        rate_change=None if exact else _rate_changes(c),
        logit_error=gaps and gaps[0],
        logit_gap=gaps and gaps[1],
        failures=_failures(c, only_reference - only_engine, samples, max_drop, max_mismatches),
    )


def _rate_changes(c: Comparison) -> dict[str, float | None]:
    """Return each layer's spikes in the program over those in the float network, minus 1."""
    return {
        layer.name: layer.reference_spikes / layer.spikes - 1 if layer.spikes else None
        for layer in c.layers.values()
    }


def _failures(
    c: Comparison, lost: int, samples: int, max_drop: float, max_mismatches: int
) -> list[str]:
    """Return a line for each limit that is exceeded.

    `lost`: recordings that the reference gets right, less those that the engine gets right.
    """
    name, lines = c.engine.name, []
    spikes, membranes = c.total("spike_mismatches"), c.total("membrane_mismatches")
    if c.engine.exact and spikes + membranes > max_mismatches:
        lines.append(f"{name} differs in {spikes} spikes and {membranes} read-out values")
    if not c.engine.exact and c.first:
        lines.append(f"{name} differs by more than rounding, first in layer {c.first['layer']}")
    lost = lost if c.engine.exact else -lost
    if lost > (1 if c.engine.exact else CHANCE) and 100 * lost > max_drop * samples:
        who = f"{name} loses" if c.engine.exact else "the integers lose"
        than = "the reference" if c.engine.exact else name
        lines.append(
            f"{who} {100 * lost / samples:.2f} points of accuracy against {than}, more than"
            f" {max_drop:g}"
        )
    return lines


def _logit_gaps(
    program: Program, logits: NDArray[Any], readout: NDArray[Any]
) -> tuple[float, float] | None:
    """Return the RMS and the largest difference of the logits, over their standard deviation.

    None where the program's read-out has no known scale.
    """
    scale, spread = program.layers[-1].scale, float(logits.std())
    if program.readout != "membrane" or scale is None or spread == 0:
        return None
    gap = readout / (64 * scale) - logits
    return float(np.sqrt(np.mean(gap**2))) / spread, float(np.abs(gap).max()) / spread
