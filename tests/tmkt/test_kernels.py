"""The cache of compiled kernels: a disk that is full or damaged costs time, and nothing else."""

import errno
import importlib
import pickle
import signal
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from numba import njit, types
from numba.core import config
from numba.core.caching import (
    CompileResultCacheImpl,
    IndexDataCacheFile,
    InTreeCacheLocator,
    _CacheLocator,
)
from numba.core.registry import cpu_target

from tmkt import console
from tmkt.events import counting
from tmkt.interrupts import note_interrupts
from tmkt.kernels import _hash, inner, kernel, working_time_s


@pytest.mark.parametrize(
    "raised",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        PermissionError(errno.EACCES, "Permission denied"),
        EOFError(),
        pickle.UnpicklingError(),
    ],
)
def test_kernels_run_where_the_cache_cannot_be_read_or_written(
    monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr(IndexDataCacheFile, "load", fail)
    if isinstance(raised, OSError):
        monkeypatch.setattr(IndexDataCacheFile, "save", fail)

    @kernel
    def doubled(a: int) -> int:
        return 2 * a

    assert doubled(21) == 42


def test_functions_of_kernels_alone_get_arrays_and_raise_as_others_do() -> None:
    @inner
    def shares(counts: np.ndarray) -> np.ndarray:
        total = counts.sum()
        if total == 0:
            raise ValueError("no counts")
        found = np.empty(len(counts))
        for i, count in enumerate(counts):
            found[i] = count / total
        return found

    @kernel
    def largest_share(counts: np.ndarray) -> float:
        return shares(counts).max()

    assert largest_share(np.array([1, 3])) == 0.75
    assert largest_share(np.array([1.5, 0.5])) == 0.75  # another signature
    with pytest.raises(ValueError, match="no counts"):
        largest_share(np.zeros(2, np.int64))


def test_the_clock_of_shown_times_stands_still_while_kernels_are_compiled() -> None:
    @kernel
    def doubled(a: int) -> int:
        return 2 * a

    before, begin = working_time_s(), perf_counter()
    assert doubled(21) == 42
    assert 0 <= working_time_s() - before < perf_counter() - begin


@pytest.fixture
def ctrl_c_while_compiling(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Send Ctrl-C when LLVM hands over what it compiled: an exception there is lost."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))  # with nothing in it
    engine = cpu_target.target_context.codegen()._engine._ee
    hand_over = engine._object_cache_notify

    def interrupted(*arguments: object) -> None:
        signal.raise_signal(signal.SIGINT)
        hand_over(*arguments)

    monkeypatch.setattr(engine, "_object_cache_notify", interrupted)


@pytest.mark.usefixtures("ctrl_c_while_compiling")
def test_ctrl_c_while_a_kernel_is_compiled_interrupts_afterwards() -> None:
    @kernel
    def doubled(a: int) -> int:
        return 2 * a

    with pytest.raises(KeyboardInterrupt):
        doubled(21)


@pytest.mark.usefixtures("ctrl_c_while_compiling")
def test_ctrl_c_while_a_kernel_is_compiled_reaches_who_only_notes_it() -> None:
    @kernel
    def doubled(a: int) -> int:
        return 2 * a

    with note_interrupts() as noted:
        assert doubled(21) == 42
    assert noted.is_set()


@pytest.mark.parametrize(
    ("cached", "said"),
    [(True, "that no command has needed here before"), (False, "with every command")],
)
def test_the_wait_is_explained_once_and_truly(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    cached: bool,
    said: str,
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))  # with nothing in it
    if not cached:  # a package and a home that cannot be written to

        def refuse(_: object) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr(_CacheLocator, "ensure_cache_path", refuse)
    monkeypatch.setattr(console, "command_line", True)

    @kernel
    def doubled(a: int) -> int:
        return 2 * a

    @kernel
    def tripled(a: int) -> int:
        return 3 * a

    assert (doubled(1), tripled(1)) == (2, 3)
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


def test_a_package_that_cannot_be_written_to_is_cached_in_the_users_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class ReadOnly(InTreeCacheLocator):  # as an installed package that belongs to another user
        def ensure_cache_path(self) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

    others = [c for c in CompileResultCacheImpl._locator_classes if c is not InTreeCacheLocator]
    monkeypatch.setattr(CompileResultCacheImpl, "_locator_classes", [ReadOnly, *others])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    @kernel
    def doubled(a: int) -> int:
        return 2 * a

    assert doubled(21) == 42
    assert list(tmp_path.rglob("*.nbc"))


KERNEL = """
from test_kernels_others import LIMIT, raised
from tmkt.kernels import kernel

@kernel
def limited(a):
    return min(raised(a), LIMIT)
"""
OTHERS = """
from tmkt.kernels import {decorator}
LIMIT = {limit}

@{decorator}
def raised(a):
    return a + {by}
"""


@pytest.mark.parametrize("decorator", ["kernel", "inlined"])
def test_a_change_of_what_a_kernel_takes_from_other_files_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, decorator: str
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "test_kernels_own.py").write_text(KERNEL)
    for limit, by, expected, compiled in ((9, 1, 4, 1), (9, 1, 4, 0), (9, 2, 5, 1), (4, 2, 4, 1)):
        others = OTHERS.format(decorator=decorator, limit=limit, by=by)
        (tmp_path / "test_kernels_others.py").write_text(others)
        for name in ("test_kernels_own", "test_kernels_others"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        _hash.cache_clear()  # as in a new process
        limited = importlib.import_module("test_kernels_own").limited
        assert limited(3) == expected
        assert sum(limited.stats.cache_misses.values()) == compiled


def test_no_kernel_that_counts_is_compiled_for_a_literal_and_again_for_an_integer() -> None:
    events = (np.array([0, 12]), *(np.zeros(2, kind) for kind in (np.uint16, np.uint16, np.uint8)))
    frames = np.zeros((2, 2, 1, 1), np.uint8)
    tables = (np.zeros(1, np.int32), np.zeros(1, np.int32))
    # compiled here, not read from the cache: that names no kernels which it calls
    njit(counting.count_bins.py_func)(events, 0, 10, tables, False, 255, frames)
    assert frames.sum() == 2
    for compiled in (counting.count_bin, counting._end_of_run):
        kinds = [kind for signature in compiled.signatures for kind in signature]
        assert kinds
        assert not [kind for kind in kinds if isinstance(kind, types.Literal)]
