"""Shares over the machines of a Ray cluster. Bundle and recordings must be in the same folders on
all of them.
"""

import signal
import socket
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from tmkt.deploy.evaluate import Answers
from tmkt.deploy.shares import MOST_LOSSES, Job, Runner, Share, lost, run_share
from tmkt.errors import InputError

_CONNECT_S = 5.0


def on_ray(address: str) -> Runner:
    """The runner of the Ray cluster at `address`: "host:port" of its head, or "auto" for the one of
    this machine; one task a core.

    Raises InputError where Ray is not installed or no cluster answers. Ray itself runs a task again
    whose worker or machine is lost.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise InputError("--ray: Ray is not installed; run: pip install 'tmkt[ray]'") from None

    def run(job: Job, shares: Sequence[Share]) -> Iterator[tuple[int, Answers]]:
        _connect(address)
        try:
            task = ray.remote(run_share).options(num_cpus=1, max_retries=MOST_LOSSES - 1)
            waiting = {task.remote(job, share): i for i, share in enumerate(shares)}
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
                        raise lost(shares[i], type(error).__name__) from None
                    except ray.exceptions.RayError as error:
                        raise InputError(
                            f"--ray {address}: the cluster was lost ({type(error).__name__}); look"
                            " at it and run again"
                        ) from None
        finally:
            ray.shutdown()  # ends what of ours still runs

    return run


def _told(address: str, error: Any) -> Exception:
    """What a task's error says to the user: that of the share itself, or that the machine has not
    what it takes to run one.
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
    """Joins the cluster. Ray waits minutes for a host that does not answer, so that is tried first."""
    import ray

    on_sigterm = signal.getsignal(
        signal.SIGTERM
    )  # Ray puts its own in its place, which ends the process with a dump of its stack
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
