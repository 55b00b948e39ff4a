"""Logs of a training: metrics.jsonl for programs, TensorBoard and lines for people."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from tmkt.console import significant
from tmkt.errors import InputError
from tmkt.files import writing
from tmkt.runs import METRICS, TENSORBOARD


class EpochMeans:
    """The means of the metrics over the steps of an epoch.

    They are part of a checkpoint, so that a resumed training logs the same.
    """

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.steps = 0

    def add(self, metrics: dict[str, float]) -> None:
        """Add one step's metrics."""
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.steps += 1

    def take(self) -> dict[str, float]:
        """Give the means and begin the next epoch."""
        # Sorted: a checkpoint keeps no order.
        means = {name: value / max(self.steps, 1) for name, value in sorted(self.sums.items())}
        self.sums, self.steps = {}, 0
        return means

    def state(self) -> dict[str, float]:
        """Give the numbers that a checkpoint keeps."""
        return {
            "steps": float(self.steps),
            **{f"sum_{name}": value for name, value in self.sums.items()},
        }

    def load(self, state: dict[str, float]) -> None:
        """Restore the numbers of a checkpoint."""
        self.steps = int(state["steps"])
        self.sums = {
            name.removeprefix("sum_"): value for name, value in state.items() if name != "steps"
        }


def epoch_line(
    epoch: int, epochs: int, row: dict[str, float], rates: dict[str, float], speed: float
) -> str:
    """Summarise an epoch for people, in 80 columns without validation; `speed` is in steps a
    second.
    """
    validation = f" (validation {100 * row['validation']:.1f} %)" if "validation" in row else ""
    low, high = (100 * of(rates.values(), default=0.0) for of in (min, max))
    return (
        f"epoch {epoch}/{epochs}: loss {row['loss']:.3f}, right {100 * row['accuracy']:.1f} %"
        f"{validation}, spikes {low:.0f} to {high:.0f} %, {significant(speed, 2)} steps/s"
    )


class MetricsLog:
    """The log of a training: each row is appended to metrics.jsonl and to TensorBoard.

    A training that goes on after `step` steps first drops all rows beyond them. The rows hold no
    times, so that equal trainings write equal files; the speed (steps_per_s) is shown in
    TensorBoard alone. Raises InputError if the disk cannot be written.
    """

    def __init__(self, out: Path, step: int) -> None:
        self.path = out / METRICS
        rows = (
            self.path.read_text(encoding="utf-8", errors="replace").splitlines()
            if step and self.path.is_file()
            else []
        )
        with writing(self.path) as beside:
            beside.write_text(
                "".join(row + "\n" for row in rows if _step(row) <= step),
                encoding="utf-8",
                newline="\n",
            )
        self.last = (step, time.monotonic())
        with _reported(out):
            (out / TENSORBOARD).mkdir(exist_ok=True)
            # Not SummaryWriter: on a full disk its thread prints a traceback of its own.
            self.board = (
                out / TENSORBOARD / f"events.out.tfevents.{time.time():.3f}.{os.getpid()}"
            ).open("wb", buffering=0)  # what is left in a buffer would fail again when it is closed
            self._record(Event(file_version="brain.Event:2"))
            # A start hides what was shown beyond `step`.
            start = SessionLog(status=SessionLog.START)
            self._record(Event(step=step + 1, session_log=start))

    def write(self, step: int, row: dict[str, float]) -> None:
        """Log the metrics of the `step`-th step."""
        speed = (step - self.last[0]) / max(time.monotonic() - self.last[1], 1e-9)
        self.last = (step, time.monotonic())
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in {**row, "steps_per_s": speed}.items()
        ]
        with _reported(self.path):
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(json.dumps({"step": step, **row}) + "\n")
            self._record(Event(step=step, summary=Summary(value=values)))

    def epoch(self, epoch: int, step: int, row: dict[str, float], rates: dict[str, float]) -> None:
        """Log an epoch that ended with the `step`-th step.

        `row` holds the means over its steps and the validation accuracy, `rates` the spike rates by
        layer.
        """
        values = [
            Summary.Value(tag=f"epoch/{name}", simple_value=value) for name, value in row.items()
        ]
        values += [
            Summary.Value(tag=f"spike_rate/{name}", simple_value=rate)
            for name, rate in rates.items()
        ]
        with _reported(self.path):
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(
                    json.dumps({"step": step, "epoch": epoch, **row, "spike_rates": rates}) + "\n"
                )
            self._record(Event(step=step, summary=Summary(value=values)))

    def _record(self, event: Event) -> None:
        event.wall_time = time.time()
        try:
            RecordWriter(self.board).write(event.SerializeToString())
        except OSError:
            self.board.close()
            raise

    def close(self) -> None:
        """Close the TensorBoard file."""
        with _reported(self.path):
            self.board.close()


def _step(row: str) -> float:
    try:
        return float(json.loads(row)["step"])
    # The last row, cut by the end of the process, or damage: nested deeply, hundreds of digits.
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return float("inf")


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); free space or choose another"
            " --out"
        ) from error
