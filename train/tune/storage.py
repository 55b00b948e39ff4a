"""What several processes share of a search: a folder with Optuna's journal, and locks that say who
still works.

DIR/journal.log holds the trials; DIR/workers/ a file for each process, locked as long as it lives.
The system lets go of a lock when its process ends, however it ends, so a trial whose process is
gone is known at once and run again; no clock is compared with another machine's.
"""

import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState

from tmkt.errors import InputError

JOURNAL, WORKERS, CLAIM, TRIALS = "journal.log", "workers", "claim.lock", "trials"
INDEX, WORKER = (
    "index",
    "worker",
)  # of a trial: its place in the search, and the process that runs it
POLL_S = 0.05


class Storage:
    """The trials of a search in a folder. `claimed` gives the right to take one; only one process
    has it at a time.
    """

    def __init__(self, folder: Path, study: optuna.Study) -> None:
        self.folder, self.study = folder, study
        self.worker = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"

    def ended(self) -> list[FrozenTrial]:
        """The trials that are complete or pruned, in their order."""
        return sorted(
            self._trials(TrialState.COMPLETE, TrialState.PRUNED),
            key=lambda trial: int(trial.user_attrs[INDEX]),
        )

    def next_index(self, wanted: int) -> int | None:
        """The first place below `wanted` that no trial has, ended or running; None where all are
        taken. Call it `claimed`.
        """
        taken = {
            trial.user_attrs.get(INDEX)
            for trial in self._trials(TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        }
        return next((index for index in range(wanted) if index not in taken), None)

    def fail_dead(self) -> None:
        """Marks the trials whose process is gone as failed, which frees their place. Call it
        `claimed`.
        """
        alive = {
            path.stem
            for path in list((self.folder / WORKERS).iterdir())
            if path.stem == self.worker or _is_locked(path)
        }
        for trial in self._trials(TrialState.RUNNING):
            if trial.user_attrs.get(WORKER) not in alive:
                self.study.tell(trial.number, state=TrialState.FAIL)
                shutil.rmtree(self.folder / TRIALS / str(trial.number), ignore_errors=True)

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Waits for the other processes' claims to end."""
        with (self.folder / CLAIM).open("ab") as file:
            while not _lock(file, self.folder):
                time.sleep(POLL_S)
            yield

    @contextmanager
    def working(self) -> Iterator[None]:
        """Shows the others that this process lives."""
        place = self.folder / WORKERS / f"{self.worker}.lock"
        place.parent.mkdir(exist_ok=True)
        with ExitStack() as held:
            with self.claimed():  # nobody looks at it before it is locked
                file = held.enter_context(place.open("ab"))
                _lock(file, self.folder)
            try:
                yield
            finally:
                place.unlink(missing_ok=True)


def open_storage(folder: Path, meta: dict[str, Any]) -> Storage:
    """Opens the search in `folder`, or begins one. `meta` is what it searches.

    Raises InputError for a folder of something else, for a search of something else, and for a
    damaged journal.
    """
    path = folder / JOURNAL
    if folder.exists() and not path.is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder}: exists and holds no {JOURNAL}, so it is no search; choose another --out or"
            " remove it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    lock = (
        JournalFileOpenLock(str(path))
        if sys.platform == "win32"
        else JournalFileSymlinkLock(str(path))
    )  # Windows lets few make links
    try:
        _mend(path, lock)
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(path), lock)),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=5),
            study_name="tune",
            direction="maximize",
            load_if_exists=True,
        )
        storage = Storage(folder, study)
        with storage.claimed():
            known = study.user_attrs
            for name, value in meta.items():
                if name not in known:
                    study.set_user_attr(name, value)
                elif known[name] != value:
                    found = f"a search with {name} {_short(known[name])}, found {_short(value)}"
                    raise InputError(
                        f"{folder}: holds {found}; go on with the same command, or choose another"
                        " --out"
                    )
        storage.ended()
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise InputError(
            f"{path}: damaged ({type(error).__name__}: {str(error)[:80]}); remove {folder} and"
            " search again"
        ) from None
    return storage


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:120]}..."


def _mend(path: Path, lock: JournalFileOpenLock | JournalFileSymlinkLock) -> None:
    """Drops a last line that was cut, by a full disk or an end of power: nothing could be added
    behind it.
    """
    if not path.is_file() or path.read_bytes()[-1:] in (b"", b"\n"):
        return
    lock.acquire()
    try:
        whole = path.read_bytes()
        if not whole.endswith(b"\n"):
            os.truncate(path, whole.rfind(b"\n") + 1)
    finally:
        lock.release()


def _is_locked(path: Path) -> bool:
    """Whether a living process holds the file; if none does, it is removed."""
    try:
        with path.open("rb+") as file:
            if not _lock(file, path.parent):
                return True
    except FileNotFoundError:
        return False
    path.unlink(missing_ok=True)
    return False


def _lock(file: IO[bytes], folder: Path) -> bool:
    """Takes the lock of a file until it is closed; False where another has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        raise InputError(
            f"{folder}: its file system has no locks ({error.strerror}), expected one that has;"
            " choose another --out"
        ) from None
    return True
