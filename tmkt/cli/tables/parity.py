"""Terminal tables of a parity check."""

from collections.abc import Sequence
from typing import Any

from tmkt.cli.tables.table import table
from tmkt.console import note, percent, say, significant
from tmkt.deploy.parity.verdict import verdicts
from tmkt.deploy.report.faults import describe_faults

MOST_CANDIDATES = 4  # causes that are shown for a first divergence


def print_parity(*reports: dict[str, Any]) -> None:
    """Print parity reports, one row per engine.

    An engine that differs gets a table by layer and its first divergence. The float network's
    spikes differ by rounding, so its row shows the share that differs.
    """
    engines = [engine for report in reports for engine in report["engines"]]
    rows = [
        _engine_row(engine, report["samples"]) for report in reports for engine in report["engines"]
    ]
    columns = [
        "engine",
        "recordings",
        "accuracy (95 % interval)",
        "same prediction (95 %)",
        "McNemar's p",
        "spike mismatches",
        "membrane mismatches",
    ]
    title = f"Parity with the {reports[0]['reference']}: {_verdict(reports)}"
    table(title, columns, rows, ["McNemar's p", "same prediction (95 %)"])
    for engine in engines:
        if engine["first_divergence"]:
            _print_mismatches_by_layer(engine)
            print_first_divergence(engine["name"], engine["first_divergence"])
    faults = {name: n for report in reports for name, n in (report["faults"] or {}).items() if n}
    for line in describe_faults(faults):
        note(f"Beyond the chip's ranges while running: {line}")


def _verdict(reports: Sequence[dict[str, Any]]) -> str:
    """Say if the check passed; if not, for the integer engines and the float network apart."""
    found = verdicts(reports)
    if not any(verdict.failures for verdict in found):
        return "passed"
    parts = []
    for verdict in found:
        who = "integer engines" if verdict.exact else "float network"
        passed = "agree" if verdict.exact else "within rounding"
        failed = f"FAILED: {'; '.join(verdict.failures)}"
        parts.append(f"{who} {failed if verdict.failures else passed}")
    return "; ".join(parts)


def _engine_row(engine: dict[str, Any], samples: int) -> list[object]:
    differing = engine["spike_mismatches"]
    if not engine["exact"] and differing is not None:
        why = "" if engine["first_divergence"] else " (rounding)"
        differing = f"{percent(differing / engine['spikes_compared'])}{why}"
    return [
        engine["name"],
        samples,
        percent(engine["accuracy"], engine["accuracy_ci95"]),
        percent(engine["prediction_agreement"], engine["prediction_agreement_ci95"]),
        f"{engine['mcnemar']['p']:.2g}",
        differing,
        engine["membrane_mismatches"],
    ]


def _print_mismatches_by_layer(engine: dict[str, Any]) -> None:
    rows: list[list[object]] = []
    for layer in engine["layers"]:
        for what, kind in (("spikes", "spike"), ("membranes", "membrane")):
            compared, differing = layer[f"{what}_compared"], layer[f"{kind}_mismatches"]
            if compared:
                share = f"{significant(100 * differing / compared)} %"
                rows.append([layer["name"], what, f"{compared:,}", f"{differing:,}", share])
    table(f"{engine['name']} by layer", ["layer", "what", "compared", "differ", "share"], rows)


def print_first_divergence(engine: str, first: dict[str, Any]) -> None:
    """Print where an engine first differs, the values on both sides, and the likely cause."""
    where = (
        f"sample {first['sample']}, layer {first['layer']}, step {first['step']}, neuron"
        f" {first['neuron']}"
    )
    found, expected = _number(first["found"]), _number(first["expected"])
    say(f"{engine} first differs at {where}: {found}, expected {expected}")
    if "membrane" in first:
        for side, ending in (("here", ""), (engine, "_found")):
            incoming = _whole(first[f"incoming_sum{ending}"])
            membrane = _whole(first[f"membrane{ending}"])
            limit = "" if first["threshold"] is None else f", threshold {first['threshold']:,}"
            say(f"  {side + ':':<12}incoming sum {incoming}, membrane {membrane}{limit}")
    if first["explanation"] is None:
        say("  cause:      unknown, none of the faults that are looked for explains it")
    else:
        say(f"  cause:      likely {first['cause']}: {first['explanation']}")
    for candidate in first["candidates"][:MOST_CANDIDATES]:
        differing = first["differing"]
        explained = f"{_number(differing - candidate['unexplained'])} of {_number(differing)}"
        if candidate["explanation"] == first["explanation"]:
            say(
                f"  explains:   {explained} values that differ in this layer and"
                f" {first['samples_examined']} recordings"
            )
        else:
            say(
                f"  perhaps:    {candidate['cause']}: {candidate['explanation']}; explains"
                f" {explained}"
            )


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else significant(value)


def _whole(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"
