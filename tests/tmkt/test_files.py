import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tmkt import parts
from tmkt.errors import InputError
from tmkt.files import writing, writing_folder
from tmkt.parts import machine, put_back


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


def dead_process() -> int:
    """Give the number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def plant(path: Path, text: str = "half") -> Path:
    """Make a file, or a folder with one file where `path` ends with a slash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("made_on", ["", f"{machine()}-"])
def test_parts_of_killed_processes_are_removed_by_the_next_write(
    tmp_path: Path, made_on: str
) -> None:
    plant(tmp_path / f".a.{made_on}{dead_process()}.part")
    plant(tmp_path / f".a.{made_on}{os.getpid()}.part")  # a container counts from 1 again
    with writing(tmp_path / "a") as beside:
        beside.write_text("new")
    assert os.listdir(tmp_path) == ["a"]
    plant(tmp_path / f".b.{made_on}{dead_process()}.part" / "x")
    with writing_folder(tmp_path / "b", "m") as folder:
        (folder / "m").write_text("new")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_parts_in_use_and_files_of_others_stay(tmp_path: Path) -> None:
    other = "00000000" if machine() != "00000000" else "11111111"
    stay = [
        plant(tmp_path / f".a.{os.getppid()}.part"),  # lives
        plant(tmp_path / f".a.{machine()}-{os.getppid()}.part"),
        plant(tmp_path / f".a.{other}-{dead_process()}.part"),  # of another machine
        plant(tmp_path / f".video.{dead_process()}.part"),  # may be somebody else's
        plant(tmp_path / "a.part"),
        plant(tmp_path / ".a.part"),
    ]
    old = plant(tmp_path / f".c.{other}-{dead_process()}.part")
    os.utime(old, (0, 0))
    with writing(tmp_path / "a") as beside, writing(tmp_path / "a2"):
        (tmp_path / beside.name.replace(".a.", ".a2.")).write_text("x")
        beside.write_text("new")
    assert sorted(tmp_path.iterdir()) == sorted([*stay, tmp_path / "a", tmp_path / "a2"])


def test_a_kill_between_the_two_renames_loses_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for made_on in ("", f"{machine()}-"):
        aside = tmp_path / f".b.{made_on}{dead_process()}.old"
        plant(aside / "m", "old")
        plant(aside.with_suffix(".part") / "m", "new")
        put_back(tmp_path / "b")
        assert (tmp_path / "b" / "m").read_text() == "old"
        assert f"{tmp_path / 'b'}: a command was killed" in capsys.readouterr().err
        (tmp_path / "b").rename(aside)
        with pytest.raises(ZeroDivisionError), writing_folder(tmp_path / "b", "m"):
            raise ZeroDivisionError
        assert (tmp_path / "b" / "m").read_text() == "old"
        assert os.listdir(tmp_path) == ["b"]
        plant(aside / "m", "older")  # killed after the second rename
        with writing_folder(tmp_path / "b", "m") as folder:
            (folder / "m").write_text("new")
        assert (tmp_path / "b" / "m").read_text() == "new"
        assert os.listdir(tmp_path) == ["b"]
        shutil.rmtree(tmp_path / "b")


def test_an_interrupt_between_the_two_renames_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path / "b" / "m", "old")
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        moved = rename(self, target)
        if Path(target).suffix == ".old":
            raise KeyboardInterrupt
        return moved

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), writing_folder(tmp_path / "b", "m") as folder:
        (folder / "m").write_text("new")
    assert (tmp_path / "b" / "m").read_text() == "old"
    assert os.listdir(tmp_path) == ["b"]


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    plant(tmp_path / "there" / "a", "old")
    (tmp_path / "link").symlink_to("there/a")
    (tmp_path / "new").symlink_to(tmp_path / "there" / "b")  # to nothing yet
    for name in ("link", "new"):
        with writing(tmp_path / name) as beside:
            beside.write_text(name)
    assert (tmp_path / "there" / "a").read_text() == "link"
    assert (tmp_path / "there" / "b").read_text() == "new"
    assert sorted(os.listdir(tmp_path / "there")) == ["a", "b"]
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="cannot be written"), writing(tmp_path / "loop"):
        raise AssertionError("must not come here")
    assert (tmp_path / "loop").is_symlink()


def test_a_folder_is_written_through_a_link(tmp_path: Path) -> None:
    plant(tmp_path / "there" / "m", "old")
    (tmp_path / "b").symlink_to("there")
    with writing_folder(tmp_path / "b", "m") as folder:
        (folder / "m").write_text("new")
    assert (tmp_path / "b").is_symlink()
    assert (tmp_path / "there" / "m").read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["b", "there"]


def test_fifos_and_devices_stay_and_are_written_to(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(["cat", fifo], stdout=subprocess.PIPE, text=True) as cat:
        with writing(fifo) as beside:
            beside.write_text("through")
        assert cat.communicate(timeout=10)[0] == "through"
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    with writing(Path("/dev/null")) as beside:
        beside.write_text("away")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    with pytest.raises(InputError, match="No space left"), writing(Path("/dev/full")) as beside:
        beside.write_text("too much")


@pytest.mark.parametrize("mode", ["ab", "wb"])
def test_an_open_file_is_written_to_and_not_replaced(tmp_path: Path, mode: str) -> None:
    code = """
from pathlib import Path
from tmkt.files import writing
print("before", flush=True)
with writing(Path("/dev/stdout")) as beside:
    beside.write_text("between\\n")
print("after")
"""
    with open(tmp_path / "out", mode) as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before\nbetween\nafter\n"


def test_a_folder_that_another_machine_moved_away_is_waited_for_and_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "REPLACING_S", 0.2)
    plant(tmp_path / ".b.00000000-1.old" / "m", "old")
    put_back(tmp_path / "b")
    assert (tmp_path / "b" / "m").read_text() == "old"
