"""Proved ranges of a program's layers in words, for the terminal and the report."""

from tmkt.console import percent
from tmkt.program.model import Program
from tmkt.program.ranges import LONGEST, LayerRange, prove

COLUMNS = ["layer", "current at most", "membrane at most", "holds for"]


def range_rows(program: Program, steps: int) -> list[list[object]]:
    """Give a row a layer: the most that any input can bring current and membrane to, as shares of
    their limits, and the steps for which neither is left.
    """
    return [
        [
            found.layer,
            percent(found.current_share),
            percent(found.membrane_share),
            _steps(found),
        ]
        for found in prove(program, steps)
    ]


def describe_ranges(program: Program, steps: int) -> str:
    """Say in a line whether nothing can wrap or clip in `steps` steps, for any input; else where it
    may.
    """
    open_ones = [found for found in prove(program, steps) if not found.proved]
    if not open_ones:
        return f"Proved for {steps} steps: no current wraps and no membrane clips, for any input"
    where = ", ".join(f"{found.layer} (holds for {_steps(found)})" for found in open_ones)
    return (
        f"Not proved for {steps} steps, only seen on recordings: {where} may wrap or clip on an"
        " input that the bounds do not exclude"
    )


def _steps(found: LayerRange) -> str:
    return f"{LONGEST:,} steps and more" if found.holds is None else f"{found.holds:,} steps"
