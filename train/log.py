"""What a training says while it runs: metrics.jsonl for programs, TensorBoard for people."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from tmkt.errors import InputError
from tmkt.files import writing
from tmkt.runs import METRICS, TENSORBOARD


class MetricsLog:
    """Appends a row to metrics.jsonl and to TensorBoard at a time.

    A training that goes on after `step` steps first loses all rows beyond them. The rows hold no times, so that equal trainings write
    equal files; the speed (steps_per_s) is shown in TensorBoard alone.
    """

    def __init__(self, out: Path, step: int) -> None:
        self.path = out / METRICS
        rows = self.path.read_text(encoding="utf-8").splitlines() if step and self.path.is_file() else []
        with writing(self.path) as beside:
            beside.write_text("".join(row + "\n" for row in rows if _step(row) <= step), encoding="utf-8")
        with _reported(out):
            self.board = SummaryWriter(str(out / TENSORBOARD), purge_step=step + 1 if step else None)
        self.last = (step, time.monotonic())

    def write(self, step: int, row: dict[str, float]) -> None:
        """Logs the metrics of the state after `step` steps."""
        speed = (step - self.last[0]) / max(time.monotonic() - self.last[1], 1e-9)
        self.last = (step, time.monotonic())
        with _reported(self.path):
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **row}) + "\n")
            for name, value in {**row, "steps_per_s": speed}.items():
                self.board.add_scalar(name, value, step)

    def close(self) -> None:
        with _reported(self.path):
            self.board.close()


def _step(row: str) -> float:
    try:
        return float(json.loads(row)["step"])
    except ValueError:  # the last row, cut by the end of the process
        return float("inf")


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); free space or choose another --out") from error
