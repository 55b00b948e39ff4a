import os
from pathlib import Path

import pytest

from tmkt.errors import InputError
from tmkt.files import writing, writing_folder


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), writing(target) as beside:
        beside.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_full_disk_is_one_line() -> None:
    with (
        pytest.raises(InputError, match=r"cannot be written .*No space left"),
        writing(Path("/dev/shm/tmkt-test")) as beside,
    ):
        beside.symlink_to("/dev/full")
        beside.write_text("x" * 100_000)
    assert not Path("/dev/shm/tmkt-test").exists()


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "bundle"
    with pytest.raises(ZeroDivisionError), writing_folder(target, "manifest.json") as folder:
        (folder / "a").write_text("a")
        raise ZeroDivisionError
    assert not target.exists()
    for text in ("one", "two"):  # the second replaces the first
        with writing_folder(target, "manifest.json") as folder:
            (folder / "manifest.json").write_text(text)
    assert (target / "manifest.json").read_text() == "two"
    assert os.listdir(target.parent) == ["bundle"]


def test_a_folder_of_another_kind_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with (
        pytest.raises(InputError, match=r"holds no manifest\.json"),
        writing_folder(tmp_path, "manifest.json"),
    ):
        raise AssertionError("must not come here")
    assert (tmp_path / "precious").read_text() == "x"


def test_a_file_in_the_place_of_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(InputError, match="cannot be written"),
        writing(tmp_path / "file" / "inside"),
    ):
        raise AssertionError("must not come here")
