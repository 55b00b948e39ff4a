"""Runs shards of recordings on a Ray cluster.

Bundle and recordings must be in the same folders on all machines.
"""

import signal
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from tmkt.deploy.evaluate import Answers
from tmkt.deploy.shards import Job, Runner, Shard, run_shard
from tmkt.errors import InputError
from tmkt.install import pip_install

_CONNECT_S = 5.0
MOST_LOSSES = 3  # of workers over one shard before it is given up: ours


def on_ray(address: str) -> Runner:
    """Return the runner of the Ray cluster at `address`, with one task a core.

    `address`: "host:port" of the head, or "auto" for the cluster of this machine. Ray itself
    repeats a task whose worker or machine is lost. Raises InputError if Ray is not installed or no
    cluster answers.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise InputError(f"--ray: Ray is not installed; {pip_install('ray')}") from None

    def run(job: Job, shards: Sequence[Shard]) -> Iterator[tuple[int, Answers]]:
        _connect(address)
        try:
            task = ray.remote(run_shard).options(num_cpus=1, max_retries=MOST_LOSSES - 1)
            alone = replace(job, loaded=None)  # every machine reads its own folder
            waiting = {task.remote(alone, share): i for i, share in enumerate(shards)}
            while waiting:
                for done in ray.wait(list(waiting))[0]:
                    i = waiting.pop(done)
                    try:
                        yield i, ray.get(done)
                    except ray.exceptions.RayTaskError as error:
                        raise _told(address, error) from None
                    except (
                        ray.exceptions.WorkerCrashedError,
                        ray.exceptions.NodeDiedError,
                        ray.exceptions.OutOfMemoryError,
                    ) as error:
                        raise _lost(shards[i], type(error).__name__) from None
                    except ray.exceptions.RayError as error:
                        raise InputError(
                            f"--ray {address}: the cluster was lost ({type(error).__name__}); look"
                            " at it and run again"
                        ) from None
        finally:
            ray.shutdown()  # ends our tasks that still run

    return run


def _lost(shard: Shard, how: str) -> InputError:
    """Return the error for a shard whose workers died again and again."""
    first, last = shard[0].path, shard[-1].path
    return InputError(
        f"worker: {MOST_LOSSES} died ({how}) over the recordings {first} to {last}; use fewer"
        " workers where memory is short, or leave these out"
    )


def _told(address: str, error: Any) -> Exception:
    """Return what the user is told about a task's error: the shard's own error, or that the machine
    cannot load what it takes to run a shard.
    """
    import ray

    cause = error.cause
    if isinstance(cause, ImportError | ray.exceptions.RaySystemError):
        why = str(cause).splitlines()[0][:100]
        return InputError(
            f"--ray {address}: a worker cannot load tmkt ({why}); install the same tmkt on every"
            " machine"
        )
    return cause if isinstance(cause, InputError | MemoryError | OSError) else error


def _connect(address: str) -> None:
    """Join the cluster. Ray waits minutes for a host that does not answer, so we try it first."""
    import ray

    # Ray replaces the handler by one that ends the process with a dump of its stack.
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        if address != "auto":
            url = urlsplit(address if "//" in address else f"//{address}")
            socket.create_connection((url.hostname or "", url.port or 0), _CONNECT_S).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        signal.signal(signal.SIGTERM, on_sigterm)
    except (OSError, RuntimeError, ValueError) as error:
        why = str(error.__cause__ or error)
        hint = (
            "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH"
            if "AuthToken" in why
            else "start one with: ray start --head, or check the address"
        )
        found = (
            "wants a token"
            if "AuthToken" in why
            else f"does not answer ({why.strip().splitlines()[-1][:100]})"
        )
        raise InputError(
            f"--ray {address}: the cluster {found}, expected one to join; {hint}"
        ) from None
