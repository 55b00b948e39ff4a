"""The cache of compiled kernels: a disk that is full or damaged costs time, and nothing else."""

import errno
import pickle

import pytest
from numba.core.caching import IndexDataCacheFile

from tmkt.kernels import kernel


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
