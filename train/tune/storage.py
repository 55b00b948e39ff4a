"""Storage that the processes of a search share: a folder with Optuna's journal, and locks.

DIR/journal.log holds the trials. DIR/workers/ holds a file for each process, locked as long as the
process lives. The system releases the lock when the process ends, so a trial whose process is gone
is known at once and run again; no clocks of several machines are compared.
"""

import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from tmkt.errors import InputError
from tmkt.train.lock import Locked, locked

JOURNAL, JOURNAL_LOCK = "journal.log", "journal.lock"
WORKERS, CLAIM, TRIALS = "workers", "claim.lock", "trials"
INDEX, WORKER = "index", "worker"  # of a trial: its place in the search and its process


class JournalLock(JournalFileOpenLock):
    """Lock of the journal that a killed process leaves free, with no file of its own to clear away.

    Optuna's own locks are files that mean "taken" by being there.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path, self._held = path, ExitStack()

    def acquire(self) -> bool:
        self._held.enter_context(locked(self._path))
        return True

    def release(self) -> None:
        self._held.close()


class Storage:
    """The trials of a search in a folder."""

    def __init__(self, folder: Path, study: optuna.Study) -> None:
        self.folder, self.study = folder, study
        self.worker = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"

    def ended(self) -> list[FrozenTrial]:
        """Return the trials that are complete or pruned, in their order."""
        return sorted(
            self._trials(TrialState.COMPLETE, TrialState.PRUNED),
            key=lambda trial: int(trial.user_attrs[INDEX]),
        )

    def next_index(self, wanted: int) -> int | None:
        """Return the first index below `wanted` that no trial has, ended or running.

        None where all are taken. Call it within `claimed`.
        """
        taken = {
            trial.user_attrs.get(INDEX)
            for trial in self._trials(TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        }
        return next((index for index in range(wanted) if index not in taken), None)

    def fail_dead(self) -> None:
        """Mark the trials of dead processes as failed, which frees their index.

        Call it within `claimed`.
        """
        alive = {
            path.stem
            for path in list((self.folder / WORKERS).iterdir())
            if path.stem == self.worker or _is_locked(path)
        }
        for trial in self._trials(TrialState.RUNNING):
            if trial.user_attrs.get(WORKER) not in alive:
                # First the folder: once a trial has failed, nobody looks for its folder any more.
                shutil.rmtree(self.folder / TRIALS / str(trial.number), ignore_errors=True)
                self.study.tell(trial.number, state=TrialState.FAIL)

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the right to take a trial; wait for the other processes' claims to end."""
        with locked(self.folder / CLAIM):
            yield

    @contextmanager
    def working(self) -> Iterator[None]:
        """Show the other processes that this one lives."""
        place = self.folder / WORKERS / f"{self.worker}.lock"
        place.parent.mkdir(exist_ok=True)
        with ExitStack() as held:
            with self.claimed():  # nobody looks at the file before it is locked
                held.enter_context(locked(place))
            try:
                yield
            finally:
                held.close()
                place.unlink(missing_ok=True)


def open_storage(folder: Path, meta: dict[str, Any]) -> Storage:
    """Open the search in `folder`, or begin one. `meta` describes what it searches.

    Raises InputError for a folder of something else, a search of something else, and a damaged
    journal.
    """
    path = folder / JOURNAL
    if folder.exists() and not path.is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder}: exists and holds no {JOURNAL}, so it is no search; choose another --out or"
            " remove it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    lock = JournalLock(folder / JOURNAL_LOCK)
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


def _mend(path: Path, lock: JournalFileOpenLock) -> None:
    """Drop a last line that was cut by a full disk or a power loss.

    Nothing could be appended after it.
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
    """Return whether a living process holds the lock; remove its file if none does."""
    if not path.exists():
        return False
    try:
        with locked(path, wait=False):
            pass
    except Locked:
        return True
    path.unlink(missing_ok=True)
    return False
