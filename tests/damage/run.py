"""Damaged files of every format that is read: counts tracebacks, hangs, crashes and gigabytes.

    python tests/damage/run.py --files 30000 --seed 0

Each file is read in a process of its own (tests/support/worker.py), by every call that reads its
format. Files that show a fault are kept in build/damage. Exit code 1 if there is one.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from queue import Empty, Queue

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from damage_run import Found, print_found, read_damaged
from readable_files import made_by_commands, readable_files

KEPT = Path(__file__).parents[2] / "build" / "damage"


def make_run(folder: Path) -> tuple[Path, Path]:
    """Train and export a network of a few steps by the command line; give both."""
    data, run, bundle = folder / "data", folder / "run", folder / "bundle"
    small = ("--set", "train.steps=4", "--set", "data.shots=1", "--set", "train.batch=4")
    for arguments in (
        ("data", "simulate", data, "--per-class", 4),
        ("train", "digits", "--data", data, "--out", run, *small),
        ("export", run, "--out", bundle),
    ):
        subprocess.run(
            [sys.executable, "-m", "tmkt", "--quiet", *map(str, arguments)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return run, bundle


def main() -> None:
    """Run as many workers as asked for, each with seeds of its own, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=30_000, help="damaged files in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of a format's name")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--without-run", action="store_true", help="train and export nothing")
    asked = parser.parse_args()
    found, seeds = Found(), Queue[int]()
    parts = max(asked.workers, asked.files // 500)
    for part in range(parts):
        seeds.put(asked.seed + part)
    with tempfile.TemporaryDirectory(prefix="tmkt-damage-") as name:
        folder = Path(name)
        made = None if asked.without_run else make_run(folder)

        def work(place: Path) -> None:
            place.mkdir()
            cases = readable_files(place)
            if made is not None:
                cases += made_by_commands(place, *made)
            cases = [case for case in cases if asked.only in case.name]
            while True:
                try:
                    seed = seeds.get_nowait()
                except Empty:
                    return
                read_damaged(cases, asked.files // parts, seed, KEPT, found)
                print(f"{sum(found.files.values())} files", file=sys.stderr, flush=True)

        threads = [
            threading.Thread(target=work, args=(folder / f"worker{i}",))
            for i in range(asked.workers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print_found(found)
    sys.exit(bool(found.faults))


if __name__ == "__main__":
    main()
