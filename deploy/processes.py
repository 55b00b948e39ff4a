"""Shares over processes of this machine. A process that dies loses only the share that it had, and
that share runs again.
"""

import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from time import monotonic
from typing import TYPE_CHECKING, Any

from tmkt.errors import InputError

if TYPE_CHECKING:  # a worker must be told how many threads to use before it imports numpy
    from tmkt.deploy.evaluate import Answers
    from tmkt.deploy.shares import Job, Runner, Share

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_END_S = 1.5  # for a worker to tidy up before it is killed


class _Worker:
    """A process, the pipe to it, and the index of the share that it has, if any."""

    def __init__(self) -> None:
        spawn = get_context("spawn")  # a fork would copy locks that other threads hold
        self.share: int | None = None
        self.pipe, end = spawn.Pipe()
        self.process = spawn.Process(target=_work, args=(end,), daemon=True)
        with _quiet_and_on_one_thread():
            self.process.start()
        end.close()

    def give(self, share: int, message: "tuple[Job, Share]") -> None:
        """Hands a share over. That the process is dead is told by `take`."""
        self.share = share
        with suppress(OSError):
            self.pipe.send(message)

    def take(self) -> "tuple[int, Answers | Exception | None]":
        """The share's index and what came of it; None if the process died over it."""
        share, self.share = self.share, None
        assert share is not None
        try:
            return share, self.pipe.recv()
        except (EOFError, OSError):
            return share, None


def on_processes(workers: int) -> "Runner":
    """The runner of that many processes, each with an engine of one thread. One that dies is
    replaced.
    """

    def run(job: "Job", shares: "Sequence[Share]") -> "Iterator[tuple[int, Answers]]":
        from tmkt.deploy.shares import MOST_LOSSES, lost

        waiting, losses = deque(range(len(shares))), [0] * len(shares)
        pool: list[_Worker] = []
        try:
            while True:
                busy = [worker for worker in pool if worker.share is not None]
                pool += [
                    _Worker() for _ in range(min(workers, len(busy) + len(waiting)) - len(pool))
                ]
                for worker in pool:
                    if worker.share is None and waiting:
                        share = waiting.popleft()
                        worker.give(share, (job, shares[share]))
                at_work = {worker.pipe: worker for worker in pool if worker.share is not None}
                if not at_work:
                    return
                for pipe in wait(list(at_work)):
                    worker = at_work[pipe]  # type: ignore[index]
                    share, answer = worker.take()
                    if isinstance(answer, Exception):
                        raise answer
                    if answer is not None:
                        yield share, answer
                        continue
                    pool.remove(worker)
                    _end([worker])
                    losses[share] += 1
                    if losses[share] == MOST_LOSSES:
                        raise lost(shares[share], f"exit code {worker.process.exitcode}")
                    waiting.appendleft(share)
        finally:
            _end(pool)

    return run


@contextmanager
def _quiet_and_on_one_thread() -> Iterator[None]:
    """What a process that starts in here inherits: Ctrl-C is blocked, for whoever started it ends
    it and says so; numpy runs on one thread, which it reads from the environment when it is
    imported.
    """
    before = {name: os.environ.get(name) for name in _THREADS}
    # the first process would start it, which unblocks Ctrl-C (seen in CPython 3.11)
    resource_tracker.ensure_running()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _work(pipe: "Connection[Any, Any]") -> None:
    """A worker: takes shares until the pipe is closed, by its owner's end if by nothing else."""
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(1)
    )  # so that what an engine started is ended, too
    from tmkt.deploy.shares import run_share

    answer: Answers | Exception
    with suppress(EOFError, OSError):
        while True:
            job, share = pipe.recv()
            try:
                answer = run_share(job, share)
            except (InputError, MemoryError, OSError) as error:
                answer = error
            # a fault of ours: shown whole; of any other class it may not pass through the pipe
            except Exception as error:
                answer = RuntimeError("in a worker: " + "".join(traceback.format_exception(error)))
            pipe.send(answer)


def _end(pool: Sequence[_Worker]) -> None:
    """Ends the workers, by force where asking for it takes too long."""
    for worker in pool:
        worker.pipe.close()
        worker.process.terminate()
    until = monotonic() + _END_S
    for worker in pool:
        worker.process.join(max(0.0, until - monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
