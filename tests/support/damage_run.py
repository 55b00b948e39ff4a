"""Damaged files of every format that is read: counts tracebacks, hangs, crashes and gigabytes."""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from damage import damaged, wrong_values
from readable_files import Readable
from worker import Worker

FAULTS = ("traceback", "hang", "crash", "memory")


@dataclass
class Found:
    """Counts by a format's name: of files, of how calls ended, the peak of their memory; and each
    fault in words. Several threads may add to it.
    """

    files: Counter[str] = field(default_factory=Counter)
    ended: dict[str, Counter[str]] = field(default_factory=dict)
    peak: Counter[str] = field(default_factory=Counter)  # bytes
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def read_damaged(
    cases: Sequence[Readable], files: int, seed: int, keep: Path, found: Found
) -> None:
    """Read `files` damaged files, each case's by its share."""
    worker = Worker()
    shares = sum(case.share for case in cases)
    try:
        for case in cases:
            content = case.path.read_bytes()
            if unread := _unread(case, worker):
                found.faults.append(f"{case.name}: the valid file is not read: {unread}")
                continue
            count = max(1, round(files * case.share / shares))
            versions = damaged(content, count - count // 2 if case.text else count, seed)
            if case.text:
                versions = chain(versions, wrong_values(content, count // 2, seed))
            for i, data in enumerate(versions):
                case.path.write_bytes(data)
                _read(case, worker, f"{case.name} {seed} {i}", keep, found)
            case.path.write_bytes(content)
    finally:
        worker.close()


def _unread(case: Readable, worker: Worker) -> str:
    """Give the answer of the first call that does not read the valid file; "" if all do."""
    usual, worker.limit_s = worker.limit_s, 120  # the first call compiles
    answers = [(call, worker(*call)) for call in case.calls]
    worker.limit_s = usual
    for call, answer in answers:
        # `data check` says of so small a data set that it lacks classes, in a report of JSON
        incomplete = call[1:3] == ("data", "check") and answer.text.endswith("}")
        if answer.fault or (answer.ended != "done" and not incomplete):
            return str(answer)
    return ""


def _read(case: Readable, worker: Worker, name: str, keep: Path, found: Found) -> None:
    answers = [(call, worker(*call)) for call in case.calls]
    with found.lock:
        found.files[case.name] += 1
        for call, answer in answers:
            found.ended.setdefault(case.name, Counter())[answer.fault or answer.ended] += 1
            found.peak[case.name] = max(found.peak[case.name], answer.peak)
            if answer.fault:
                keep.mkdir(parents=True, exist_ok=True)
                kept = keep / f"{name.replace(' ', '-')}{case.path.suffix}"
                kept.write_bytes(case.path.read_bytes())
                what = " ".join(map(str, call))
                found.faults.append(
                    f"{answer.fault}: {kept}, read by: {what}\n{answer.text[-1500:]}"
                )


def print_found(found: Found) -> None:
    """Print a line a format, then the faults."""
    columns = ("files", "done", "refused", *FAULTS, "peak MB")
    print(f"{'':28}" + "".join(f"{column:>10}" for column in columns))
    for name, files in found.files.items():
        ended = found.ended[name]
        counts = (files, *(ended[column] for column in columns[1:-1]), found.peak[name] >> 20)
        print(f"{name:28}" + "".join(f"{count:10}" for count in counts))
    total = sum(found.files.values())
    print(f"{total} damaged files, {len(found.faults)} faults")
    for fault in found.faults[:20]:
        print(f"\n{fault}")
