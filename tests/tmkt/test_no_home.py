"""A user without a home and a name (`docker run -u 12345`): nothing is cached, all else runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tmkt.datasets import cache
from tmkt.files import user_cache
from tmkt.kernels import kernel


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pwd = pytest.importorskip("pwd", reason="users without a name are POSIX's")

    def unknown(_: int) -> None:
        raise KeyError

    for name in ("HOME", "XDG_CACHE_HOME", "TMKT_CACHE", "NUMBA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("nobody")
def test_frames_are_made_and_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert user_cache() is None
    assert cache.folder() is None
    monkeypatch.setattr(cache, "WORTH_FILES", 0)

    def fill(out: NDArray[Any]) -> None:
        out[:] = 1

    source = tmp_path / "a.bin"
    source.write_bytes(b"1")
    assert cache.cached([source], {}, (2, 3), np.uint8, fill).tolist() == [[1] * 3] * 2


@pytest.mark.usefixtures("nobody")
def test_kernels_run_and_make_no_folder_called_tilde(tmp_path: Path) -> None:
    @kernel
    def doubled(a: int) -> int:
        return 2 * a

    assert doubled(21) == 42
    assert list(tmp_path.iterdir()) == []


def test_the_caches_of_known_users_are_where_they_were(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TMKT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "tmkt"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache" / "tmkt"
