"""Terminal tables of a stream: the last decisions as they come, and the summary."""

from typing import TYPE_CHECKING, Any

from tmkt.cli.tables.table import live_table, table
from tmkt.console import joules, significant
from tmkt.deploy.report.faults import fault_rows

if TYPE_CHECKING:
    from rich.console import Group

    from tmkt.deploy.stream.decision import Decision

DECISION_COLUMNS = (
    "time, s",
    "class",
    "best",
    "margin",
    "bins",
    "events",
    "chip, µs",
    "energy",
    "host, ms",
)


def decision_row(decision: "Decision", origin_us: int, times: bool) -> list[str]:
    """Format one decision; `times` False leaves out this host's, which differ from run to run."""
    cost = decision.cost
    chip = energy = "-"
    if cost is not None and cost.latency_us is not None:
        chip = "{:.0f}-{:.0f}".format(*cost.latency_us)
    if cost is not None and cost.energy_j:
        energy = " to ".join(str(joules(end)) for end in next(iter(cost.energy_j.values())))
    return [
        f"{(decision.time_us - origin_us) * 1e-6:.3f}",
        decision.decided or "-",
        decision.best,
        f"{decision.margin:.1f}",
        str(decision.bins),
        f"{decision.answer.events:,}",
        chip,
        energy,
        f"{decision.host_us / 1e3:.2f}" if times else "-",
    ]


def decision_table(title: str, rows: list[list[str]]) -> "Group":
    """Make the table of decisions that a terminal redraws; it has no room for all columns if the
    terminal is narrow.
    """
    return live_table(title, list(DECISION_COLUMNS), rows, ["bins", "host, ms", "best", "energy"])


def print_summary(report: dict[str, Any]) -> None:
    """Print what a stream held, the answers to it, and what they cost."""
    classes = ", ".join(f"{name}: {n}" for name, n in report["classes"].items() if n)
    stream = (
        f"{report['duration_s']:.3f} s, {report['events']:,} events,"
        f" {report['events_outside_crop']:,} of them outside the crop"
    )
    steps = f"{report['steps']:,}"
    if report["restarts"]:
        steps += f", state started anew {report['restarts']} times"
    nothing = f", {report['nothing']:,} nothing" if "nothing" in report else ""
    rows: list[list[object]] = [
        ["stream", stream],
        ["repairs", f"{report['repairs']['dropped']:,} events dropped by the reader"],
        ["answers", f"{report['answers']:,}, {report['decided']:,} decided{nothing}"],
        ["decided for", classes or None],
        ["steps", steps],
    ]
    rows[2:2] = [
        [f"filter {one['filter']}", f"{one['dropped']:,} events dropped"]
        for one in report.get("filters", [])
    ]
    rows += fault_rows(report["faults"])
    if "chip" in report:
        rows += _chip_rows(report["chip"])
    if "times" in report:
        rows += _host_rows(report["times"])
    table("Summary", ["", "value"], rows)


def _host_rows(times: dict[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = []
    latencies = [times["host_us"][name] for name in ("p50", "p95", "p99", "max")]
    if None not in latencies:
        shown = "p50 {:.2f}, p95 {:.2f}, p99 {:.2f}, max {:.2f} ms".format(
            *(us / 1e3 for us in latencies)
        )
        rows.append(["this host, latency", f"{shown}, from a bin's events to its answer"])
    if times["events_per_s"] is not None:
        shown = (
            f"{times['events_per_s']:,.0f} events a second, {times['real_time_factor']:.1f} times"
            " real time"
        )
        rows.append(["this host, throughput", shown])
    return rows


def _chip_rows(chip: dict[str, Any]) -> list[list[object]]:
    device = chip["device"]
    if not chip["fits"]:
        return [[device, f"does not fit; see: tmkt fit --device {device}"]]
    if chip["step_us"] is None:
        return []
    keeps = "keeps up with the stream" if chip["keeps_up"] else "MAY NOT KEEP UP with the stream"
    step = " to ".join(map(significant, chip["step_us"])) + " µs"
    latency = "{:.0f} to {:.0f} µs, from a bin's end to its answer".format(*chip["latency_us"])
    rows: list[list[object]] = [
        [f"{device}, a step", f"{step}, {keeps}"],
        [f"{device}, latency", latency],
    ]
    for e in chip["energy_per_answer"]:
        energy = f"{joules(e['low_j'])} to {joules(e['high_j'])} an answer, by {e['estimator']}"
        rows.append([f"{device}, energy", energy])
        rows.append(["  leaves out", "; ".join(e["excludes"])])
    return rows
