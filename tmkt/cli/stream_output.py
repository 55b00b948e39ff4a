"""What `tmkt stream` prints: JSON lines, or a table that follows the stream."""

import json
import sys
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from tmkt import console

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from tmkt.deploy.stream.run import Decision

LAST = 15  # decisions on the screen
COLUMNS = ("time, s", "class", "best", "margin", "bins", "events", "chip, µs", "energy", "host, ms")


class Output(Protocol):
    """Where decisions go."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def begin(self, header: dict[str, Any], mapping: str) -> None: ...

    def show(self, decision: "Decision", origin_us: int) -> None: ...

    def end(self, report: dict[str, Any]) -> None: ...


class JsonLines:
    """{"stream": rules}, one line a decision, {"summary": ...}."""

    def __init__(self, times: bool) -> None:
        self.times = times

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def begin(self, header: dict[str, Any], mapping: str) -> None:  # noqa: ARG002
        print(json.dumps({"stream": header}), flush=True)

    def show(self, decision: "Decision", origin_us: int) -> None:  # noqa: ARG002
        print(json.dumps(decision.to_json(self.times)), flush=True)

    def end(self, report: dict[str, Any]) -> None:
        print(json.dumps({"summary": report}), flush=True)


class LiveTable:
    """On a terminal the last decisions, redrawn as they come; elsewhere a line each. Then the
    summary.
    """

    def __init__(self, times: bool) -> None:
        self.times = times
        self._rows: deque[list[str]] = deque(maxlen=LAST)
        self._live: Live | None = None
        self._title = ""

    def __enter__(self) -> Self:
        if sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(refresh_per_second=8, get_renderable=self._table)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def begin(self, header: dict[str, Any], mapping: str) -> None:
        self._title = f"{header['bundle']} on {header['source']}"
        rule = header["rule"]
        decides = (
            "at the window's end"
            if rule["margin"] is None
            else f"at a margin of {rule['margin']:.3g} in {rule['hold']} bins in a row"
        )
        every = (
            f"{header['window_bins']} bins of {header['bin_us']} us, every {header['stride_bins']},"
            f" state {header['state']}"
        )
        console.note(f"Input: {mapping}")
        console.note(
            f"Windows: {every}, bins from the {header['origin']}; decided {decides}, with"
            f" {rule['min_events']} events or more"
        )

    def show(self, decision: "Decision", origin_us: int) -> None:
        cost = decision.cost
        chip = (
            "-"
            if cost is None or cost.latency_us is None
            else "{:.0f}-{:.0f}".format(*cost.latency_us)
        )
        energy = (
            "-"
            if cost is None or not cost.energy_j
            else " to ".join(str(console.joules(end)) for end in next(iter(cost.energy_j.values())))
        )
        row = [
            f"{(decision.time_us - origin_us) * 1e-6:.3f}",
            decision.decided or "-",
            decision.best,
            f"{decision.margin:.1f}",
            str(decision.answer.last - decision.answer.begin + 1),
            f"{decision.answer.events:,}",
            chip,
            energy,
            f"{decision.host_us / 1e3:.2f}" if self.times else "-",
        ]
        self._rows.append(row)
        if self._live is None:
            print(
                "  ".join(f"{name} {cell}" for name, cell in zip(COLUMNS, row, strict=True)),
                flush=True,
            )

    def _table(self) -> "Table":
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self._title), title_justify="left")
        for name in COLUMNS:
            table.add_column(name, justify="right")
        for row in list(self._rows):
            table.add_row(*(Text(cell) for cell in row))
        return table

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def end(self, report: dict[str, Any]) -> None:
        self._stop()
        rows: list[list[object]] = [
            [
                "stream",
                (
                    f"{report['duration_s']:.3f} s, {report['events']:,} events,"
                    f" {report['events_outside_crop']:,} of them outside the crop"
                ),
            ],
            ["repairs", f"{report['repairs']['dropped']:,} events dropped by the reader"],
            ["answers", f"{report['answers']:,}, {report['decided']:,} decided"],
            [
                "decided for",
                ", ".join(f"{name}: {n}" for name, n in report["classes"].items() if n) or None,
            ],
            [
                "steps",
                f"{report['steps']:,}"
                + (
                    f", state started anew {report['restarts']} times" if report["restarts"] else ""
                ),
            ],
        ]
        rows += [[name.replace("_", " "), n] for name, n in (report["faults"] or {}).items()]
        if "chip" in report:
            rows += _chip(report["chip"])
        if "times" in report:
            host = [report["times"]["host_us"][name] for name in ("p50", "p95", "p99", "max")]
            if None not in host:
                rows.append(
                    [
                        "this host, from a bin's events to its answer",
                        "p50 {:.2f}, p95 {:.2f}, p99 {:.2f}, max {:.2f} ms".format(
                            *(us / 1e3 for us in host)
                        ),
                    ]
                )
            if report["times"]["events_per_s"] is not None:
                rate, factor = report["times"]["events_per_s"], report["times"]["real_time_factor"]
                rows.append(
                    [
                        "this host, throughput",
                        f"{rate:,.0f} events a second, {factor:.1f} times real time",
                    ]
                )
        console.table("Summary", ["", "value"], rows)


def _chip(chip: dict[str, Any]) -> list[list[object]]:
    if not chip["fits"]:
        return [[chip["device"], f"does not fit; see: tmkt fit --device {chip['device']}"]]
    if chip["step_us"] is None:
        return []
    keeps = "keeps up with the stream" if chip["keeps_up"] else "MAY NOT KEEP UP with the stream"
    rows: list[list[object]] = [
        [f"{chip['device']}, a step", "{:.3g} to {:.3g} µs, ".format(*chip["step_us"]) + keeps],
        [
            f"{chip['device']}, from a bin's end to its answer",
            "{:.0f} to {:.0f} µs".format(*chip["latency_us"]),
        ],
    ]
    for e in chip["energy_per_answer"]:
        rows.append(
            [
                f"{chip['device']}, energy an answer, {e['estimator']}",
                f"{console.joules(e['low_j'])} to {console.joules(e['high_j'])}",
            ]
        )
        rows.append(["  leaves out", ", ".join(e["excludes"])])
    return rows
