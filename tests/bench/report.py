"""Measuring and printing of benchmarks: tables for people, or one JSON line a comparison
(`--json`).

Contestants take turns, round after round, and each figure is the median over the rounds: a machine
that slows down slows all of them. Read ratios.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from tmkt import __version__, console, processor
from tmkt.cli.tables.table import table as print_table


@dataclass(frozen=True)
class Comparison:
    """Seconds that ours and theirs took for the same work."""

    name: str
    ours_s: float
    theirs_s: float

    @property
    def ratio(self) -> float:
        """Ratio of their time to ours."""
        return self.theirs_s / self.ours_s


@dataclass(frozen=True)
class Table:
    """One table, the comparisons that it shows, and what a reader has to know about it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    comparisons: Sequence[Comparison] = ()
    notes: Sequence[str] = field(default_factory=list)


@dataclass(frozen=True)
class Options:
    """`threads` of every contestant; `quick` leaves out what takes longest (Lava, all spike rates
    but 5 %); `long` runs a whole hour of stream.
    """

    threads: int = 1
    quick: bool = False
    long: bool = False


Benchmark = Callable[[Options], Iterable[Table]]


def alternate(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Calls every run once a round, after a first round that warms up; seconds a call, the median
    over the rounds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(found[1:]) for name, found in seconds.items()}


def ms(seconds: float) -> str:
    """Milliseconds with three digits."""
    return f"{1e3 * seconds:#.3g}".rstrip(".")


def show(tables: Iterable[Table], options: argparse.Namespace) -> None:
    """Print tables, or as JSON lines only their comparisons, each with the machine it is of.

    The history gets the lines, too.
    """
    for table in tables:
        for line in (_line(c, options.threads) for c in table.comparisons):
            if options.json:
                print(line, flush=True)
            if options.history:
                with options.history.open("a", encoding="utf-8", newline="\n") as file:
                    file.write(line + "\n")
        if not options.json:
            print_table(table.title, list(table.columns), [list(row) for row in table.rows])
            for note in table.notes:
                console.note(note)
            sys.stdout.flush()


def _line(comparison: Comparison, threads: int) -> str:
    return json.dumps(
        {
            "name": comparison.name,
            "ratio": round(comparison.ratio, 3),
            "ours_s": comparison.ours_s,
            "theirs_s": comparison.theirs_s,
            "threads": threads,
            "processor": processor.name(),
            "instructions": processor.instructions(),
            "version": __version__,
            "date": date.today().isoformat(),
        }
    )


def main(*benchmarks: Benchmark) -> None:
    """Run the command line of one benchmark or of all."""
    parser = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--json", action="store_true", help="JSON lines on standard output and nothing else there"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="of every contestant (default 1: a core against a core)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="leave out what takes longest: Lava, all spike rates but 5 %%, most random events",
    )
    parser.add_argument(
        "--long",
        action="store_true",
        help="a whole hour of stream, 10^9 events, instead of a tenth of it",
    )
    parser.add_argument(
        "--history", type=Path, help="a file of JSON lines, such as docs/results/speed.jsonl"
    )
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    if not options.json:
        known = [processor.name() or "A processor of unknown name", *processor.instructions()]
        console.note(f"{', '.join(known)}; threads: {options.threads}")
    for benchmark in benchmarks:
        show(benchmark(Options(options.threads, options.quick, options.long)), options)
