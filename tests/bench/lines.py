"""Results of benchmarks that train: one JSON line each, and what a table says of several."""

import json
import statistics
from pathlib import Path
from typing import Any

RESULTS = "results.jsonl"


def results(out: Path) -> list[dict[str, Any]]:
    """Read the lines that OUT holds."""
    path = out / RESULTS
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if path.is_file()
        else []
    )


def add(out: Path, entry: dict[str, Any]) -> None:
    """Writes a line behind the others, and shows it."""
    line = json.dumps(entry)
    with (out / RESULTS).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    print(line, flush=True)


def spread(values: list[float], digits: int = 1) -> str:
    """Mean and sample standard deviation."""
    return f"{statistics.mean(values):.{digits}f}" + (
        f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    )
