"""Output of `tmkt stream`: JSON lines, or a table that follows the stream."""

import sys
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tmkt import console
from tmkt.cli.tables.stream import (
    DECISION_COLUMNS,
    decision_row,
    decision_table,
    print_summary,
)

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

    from tmkt.deploy.stream.decision import Decision

LAST = 15  # decisions on the screen


class JsonLines:
    """Prints a line {"stream": rules}, one a decision, and {"summary": ...}."""

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
        console.emit_json({"stream": header}, indent=None)

    def show(self, decision: "Decision", origin_us: int) -> None:  # noqa: ARG002
        console.emit_json(decision.to_json(self.times), indent=None)

    def end(self, report: dict[str, Any]) -> None:
        console.emit_json({"summary": report}, indent=None)


class LiveTable:
    """Shows the last decisions on a terminal, redrawn as they come, or elsewhere a line each; then
    the summary.
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
        decides = "at the window's end"
        if rule["margin"] is not None:
            held = f", held for {rule['hold']} bins" if rule["hold"] > 1 else ""
            decides = f"at a margin of {rule['margin']:.3g}{held}"
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
        row = decision_row(decision, origin_us, self.times)
        self._rows.append(row)
        if self._live is None:
            cells = zip(DECISION_COLUMNS, row, strict=True)
            console.say("  ".join(f"{name} {cell}" for name, cell in cells))

    def _table(self) -> "Group":
        return decision_table(self._title, list(self._rows))

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def end(self, report: dict[str, Any]) -> None:
        self._stop()
        print_summary(report)
