"""Work of the host ahead of a GPU: pinned memory, and a thread that prepares the next steps."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

AHEAD = 2  # steps that are prepared while a GPU computes another one

Prepared = TypeVar("Prepared")


def host_tensor(array: NDArray[Any], device: torch.device) -> Tensor:
    """View an array as a tensor; for a GPU copy it to pinned memory, from which it can be sent
    while the host goes on.
    """
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.pin_memory()


class Ahead(Generic[Prepared]):
    """Results of `prepare` for each step up to `end`, taken in order.

    For a GPU a thread prepares some steps ahead. On a CPU, where the thread would take time from
    the step itself, each is prepared when it is taken.
    """

    def __init__(self, prepare: Callable[[int], Prepared], end: int, device: torch.device) -> None:
        self.prepare, self.end = prepare, end
        self._begun: dict[int, Future[Prepared]] = {}
        self._thread: ThreadPoolExecutor | None = None
        if device.type == "cuda":
            # A new thread uses the first GPU, until it is told of its own.
            self._thread = ThreadPoolExecutor(1, "ahead", torch.cuda.set_device, (device,))

    def take(self, step: int) -> Prepared:
        """Give what was prepared for a step. What failed in the thread is raised here."""
        if self._thread is None:
            return self.prepare(step)
        for later in range(step, min(step + AHEAD + 1, self.end)):
            if later not in self._begun:
                self._begun[later] = self._thread.submit(self.prepare, later)
        return self._begun.pop(step).result()

    def close(self) -> None:
        """End the thread after the step that it is at."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
