"""What a training says while it runs: metrics.jsonl for programs, TensorBoard for people."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from tmkt.errors import InputError
from tmkt.files import writing
from tmkt.runs import METRICS, TENSORBOARD


class MetricsLog:
    """Appends a row at a time to metrics.jsonl and to TensorBoard.

    A training that goes on after `step` steps first drops all rows beyond them. The rows hold no times, so that equal trainings write
    equal files; the speed (steps_per_s) is shown in TensorBoard alone. A disk that cannot be written raises InputError.
    """

    def __init__(self, out: Path, step: int) -> None:
        self.path = out / METRICS
        rows = self.path.read_text(encoding="utf-8", errors="replace").splitlines() if step and self.path.is_file() else []
        with writing(self.path) as beside:
            beside.write_text("".join(row + "\n" for row in rows if _step(row) <= step), encoding="utf-8")
        self.last = (step, time.monotonic())
        with _reported(out):
            (out / TENSORBOARD).mkdir(exist_ok=True)
            # Written here and now, not by SummaryWriter: its thread would print a traceback of its own when the disk is full.
            self.board = (out / TENSORBOARD / f"events.out.tfevents.{time.time():.3f}.{os.getpid()}").open("wb")
            self._record(Event(file_version="brain.Event:2"))
            self._record(Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)))  # hides what was shown beyond `step`

    def write(self, step: int, row: dict[str, float]) -> None:
        """Logs the metrics of the `step`-th step."""
        speed = (step - self.last[0]) / max(time.monotonic() - self.last[1], 1e-9)
        self.last = (step, time.monotonic())
        values = [Summary.Value(tag=name, simple_value=value) for name, value in {**row, "steps_per_s": speed}.items()]
        with _reported(self.path):
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **row}) + "\n")
            self._record(Event(step=step, summary=Summary(value=values)))

    def _record(self, event: Event) -> None:
        event.wall_time = time.time()
        RecordWriter(self.board).write(event.SerializeToString())
        self.board.flush()

    def close(self) -> None:
        """Ends the TensorBoard file."""
        with _reported(self.path):
            self.board.close()


def _step(row: str) -> float:
    try:
        return float(json.loads(row)["step"])
    except (ValueError, TypeError, KeyError):  # the last row, cut by the end of the process
        return float("inf")


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); free space or choose another --out") from error
