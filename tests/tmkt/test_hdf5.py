"""HDF5 files that must not be read are refused before anything is unpacked.

So are damaged files that libhdf5 would never return from.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from damage import damaged

from tmkt.hdf5 import MAX_DEPTH, check_hdf5


def write(path: Path, **content: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in content.items():
            file[name] = value
    return path


def read_all(path: Path) -> None:
    """Read everything, as a reader of the whole file does."""
    with h5py.File(path, "r") as file:
        file.visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)


def test_a_sound_file_passes(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.h5", weight=np.ones((3, 4), np.float32), name="LIF", words=["a", "bc", ""]
    )
    check_hdf5(path, 10_000)


def test_sizes_are_checked_before_anything_is_unpacked(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset(
            "weight", (2**40,), np.int8, chunks=(2**20,), compression="gzip"
        )  # nothing is stored
    assert (tmp_path / "a.h5").stat().st_size < 10_000
    with pytest.raises(
        ValueError, match=r"'weight' of shape \(1099511627776,\) unpacks to more than is allowed"
    ):
        check_hdf5(tmp_path / "a.h5", 2**31)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        for i in range(3):
            file.create_dataset(f"part{i}", (2**20,), np.int8, compression="gzip")
    check_hdf5(tmp_path / "b.h5", 3 * 2**20)
    with pytest.raises(ValueError, match="'part2' of shape"):
        check_hdf5(tmp_path / "b.h5", 3 * 2**20 - 1)


def test_a_chunk_larger_than_its_data_counts(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("weight", (1,), np.int8, chunks=(2**20,), maxshape=(None,))
    with pytest.raises(ValueError, match="unpacks to more"):
        check_hdf5(tmp_path / "a.h5", 2**19)


def test_files_that_point_into_other_files_are_refused(tmp_path: Path) -> None:
    other = write(tmp_path / "other.h5", secret=np.ones(3))
    for name, link in [
        ("a.h5", h5py.ExternalLink(str(other), "secret")),
        ("b.h5", h5py.SoftLink("/weight")),
    ]:
        write(tmp_path / name, weight=np.ones(2), link=link)
        with pytest.raises(ValueError, match="'link' is a link to elsewhere"):
            check_hdf5(tmp_path / name, 10_000)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.create_dataset("stored", (8,), np.int8, external=[(str(other), 0, 8)])
    with h5py.File(tmp_path / "d.h5", "w") as file:
        layout = h5py.VirtualLayout((3,), np.float64)
        layout[:] = h5py.VirtualSource(str(other), "secret", (3,))
        file.create_virtual_dataset("stored", layout)
    for name in ("c.h5", "d.h5"):
        with pytest.raises(ValueError, match="'stored' lies in another file"):
            check_hdf5(tmp_path / name, 10_000)


def test_a_file_that_holds_itself_ends(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/itself"] = file["/"]
    with pytest.raises(ValueError, match=f"nested more than {MAX_DEPTH} deep"):
        check_hdf5(tmp_path / "a.h5", 10_000)


def test_an_empty_free_space_among_strings_which_libhdf5_never_leaves_is_found(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "a.h5", name="LIF", weight=np.ones(3))
    content = bytearray(path.read_bytes())
    at = content.find(b"GCOL") + 16 + 16 + 8  # behind the heap's header and the one string
    assert content[at : at + 2] == b"\0\0"
    assert content[at + 8 : at + 16] != bytes(8)
    content[at + 8 : at + 16] = bytes(8)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"damaged heap of strings at byte {at}"):
        check_hdf5(path, 10_000)


def test_damaged_files_end_in_an_error_or_are_read_to_the_end(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    content = {f"node{i}/weight": rng.normal(size=(4, 9)).astype(np.float32) for i in range(6)} | {
        f"node{i}/type": "Conv2d" for i in range(6)
    }
    sound = write(tmp_path / "a.h5", **content).read_bytes()
    refused = 0
    for damage in damaged(sound, 300):
        (tmp_path / "b.h5").write_bytes(damage)
        try:
            check_hdf5(tmp_path / "b.h5", 2**24)
            read_all(tmp_path / "b.h5")
        except (OSError, ValueError, KeyError, RuntimeError, TypeError):
            refused += 1
    assert 50 < refused < 300
