"""Results of benchmarks that train: one JSON line each, and what a table says of several."""

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tmkt import processor
from tmkt.errors import InputError

RESULTS = "results.jsonl"


def train_and_show(
    options: argparse.Namespace,
    train: Callable[[argparse.Namespace], None],
    show: Callable[[argparse.Namespace], None],
) -> None:
    """Train what OUT lacks, unless only its table is asked for, and show all of it."""
    try:
        if not options.table:
            options.out.mkdir(parents=True, exist_ok=True)
            train(options)
        show(options)
    except InputError as error:
        sys.exit(str(error))


def results(out: Path) -> list[dict[str, Any]]:
    """Read the lines that OUT holds."""
    path = out / RESULTS
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if path.is_file()
        else []
    )


def add(out: Path, entry: dict[str, Any]) -> None:
    """Write a line behind the others, and show it.

    It names the processor: what a seed trains differs between kinds by how sums are rounded.
    """
    machine = {"processor": processor.name(), "instructions": processor.instructions()}
    line = json.dumps({**entry, **machine})
    with (out / RESULTS).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    print(line, flush=True)


def difference(pairs: list[float], digits: int = 1, draws: int = 10_000) -> str:
    """Mean of paired differences, one a seed, and its 95 % interval by bootstrap over the seeds.

    The percentiles of `draws` means of as many seeds, drawn with replacement. No interval of fewer
    than five: it would be too narrow.
    """
    mean = f"{statistics.mean(pairs):+.{digits}f}"
    if len(pairs) < 5:
        return f"{mean} (n={len(pairs)})"
    rng = np.random.default_rng(0)
    means = np.array(pairs)[rng.integers(0, len(pairs), (draws, len(pairs)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{mean} ({low:+.{digits}f} to {high:+.{digits}f}, n={len(pairs)})"


def spread(values: list[float], digits: int = 1) -> str:
    """Mean and sample standard deviation."""
    return f"{statistics.mean(values):.{digits}f}" + (
        f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    )
