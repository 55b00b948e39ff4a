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


class EpochMeans:
    """The means of the metrics over the steps of an epoch; they are part of a checkpoint, so that a
    resumed training says the same.
    """

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.steps = 0

    def add(self, metrics: dict[str, float]) -> None:
        """Takes one step's metrics."""
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.steps += 1

    def take(self) -> dict[str, float]:
        """The means; the next epoch begins."""
        means = {
            name: value / max(self.steps, 1) for name, value in sorted(self.sums.items())
        }  # a checkpoint keeps no order
        self.sums, self.steps = {}, 0
        return means

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {
            "steps": float(self.steps),
            **{f"sum_{name}": value for name, value in self.sums.items()},
        }

    def load(self, state: dict[str, float]) -> None:
        """Goes on from a checkpoint."""
        self.steps = int(state["steps"])
        self.sums = {
            name.removeprefix("sum_"): value for name, value in state.items() if name != "steps"
        }


def epoch_line(
    epoch: int, epochs: int, step: int, row: dict[str, float], rates: dict[str, float], speed: float
) -> str:
    """An epoch in one line for people; `speed` in steps a second."""
    parts = ", ".join(
        f"{name.removeprefix('loss_')} {value:.3f}"
        for name, value in row.items()
        if name.startswith("loss_")
    )
    validation = f", validation {100 * row['validation']:.1f} %" if "validation" in row else ""
    spikes = " ".join(f"{name} {100 * rate:.1f}" for name, rate in rates.items())
    shares = f"batch {100 * row['accuracy']:.1f} %{validation}"
    return (
        f"epoch {epoch}/{epochs}, step {step}: loss {row['loss']:.3f} ({parts}), {shares}, spikes %"
        f" {spikes}, {speed:.2g} steps/s"
    )


class MetricsLog:
    """Appends a row at a time to metrics.jsonl and to TensorBoard.

    A training that goes on after `step` steps first drops all rows beyond them. The rows hold no
    times, so that equal trainings write equal files; the speed (steps_per_s) is shown in
    TensorBoard alone. A disk that cannot be written raises InputError.
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
                "".join(row + "\n" for row in rows if _step(row) <= step), encoding="utf-8"
            )
        self.last = (step, time.monotonic())
        with _reported(out):
            (out / TENSORBOARD).mkdir(exist_ok=True)
            # Not SummaryWriter: on a full disk its thread prints a traceback of its own.
            self.board = (
                out / TENSORBOARD / f"events.out.tfevents.{time.time():.3f}.{os.getpid()}"
            ).open("wb", buffering=0)  # what is left in a buffer would fail again when it is closed
            self._record(Event(file_version="brain.Event:2"))
            self._record(
                Event(step=step + 1, session_log=SessionLog(status=SessionLog.START))
            )  # hides what was shown beyond `step`

    def write(self, step: int, row: dict[str, float]) -> None:
        """Logs the metrics of the `step`-th step."""
        speed = (step - self.last[0]) / max(time.monotonic() - self.last[1], 1e-9)
        self.last = (step, time.monotonic())
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in {**row, "steps_per_s": speed}.items()
        ]
        with _reported(self.path):
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **row}) + "\n")
            self._record(Event(step=step, summary=Summary(value=values)))

    def epoch(self, epoch: int, step: int, row: dict[str, float], rates: dict[str, float]) -> None:
        """Logs an epoch that ended with the `step`-th step: means over its steps, validation
        accuracy, spike rates by layer.
        """
        values = [
            Summary.Value(tag=f"epoch/{name}", simple_value=value) for name, value in row.items()
        ]
        values += [
            Summary.Value(tag=f"spike_rate/{name}", simple_value=rate)
            for name, rate in rates.items()
        ]
        with _reported(self.path):
            with self.path.open("a", encoding="utf-8") as file:
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
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); free space or choose another"
            " --out"
        ) from error
