"""Verdicts of a parity check, apart for the integer engines and for the float network."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Verdict(NamedTuple):
    """Verdict on engines of one kind: their names, and a line for each limit exceeded."""

    exact: bool
    engines: list[str]
    failures: list[str]


def verdicts(reports: Sequence[dict[str, Any]]) -> list[Verdict]:
    """Return the verdict on the integer engines and on the float network, of those that ran."""
    engines = [engine for report in reports for engine in report["engines"]]
    of_float = [line for engine in engines if not engine["exact"] for line in engine["failures"]]
    every = [line for report in reports for line in report["failures"]]
    failures = {False: of_float, True: [line for line in every if line not in of_float]}
    names = {
        exact: [engine["name"] for engine in engines if engine["exact"] == exact]
        for exact in (True, False)
    }
    return [Verdict(exact, names[exact], failures[exact]) for exact in names if names[exact]]
