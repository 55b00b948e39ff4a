"""camera.toml says what recordings do not, to every command that reads them."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from example_files import SENSOR, random_events, rows, write_example

from tmkt.datasets.reading import read_recording
from tmkt.datasets.registry import dataset
from tmkt.errors import InputError
from tmkt.readers.camera_file import find_camera, open_recording

EVENTS = random_events(50)


def folder_of_text(root: Path, camera: str) -> Path:
    """Write a class of one recording in milliseconds, whose lines are "y x p t" without names."""
    (root / "left").mkdir(parents=True)
    lines = (f"{y} {x} {p} {t / 1000:.3f}\n" for t, x, y, p in rows([EVENTS]))
    (root / "left" / "a.txt").write_text("".join(lines))
    (root / "camera.toml").write_text(camera)
    return root


CAMERA = 'width = 120\nheight = 100\ncolumns = "y,x,p,t"\ntime_unit = "ms"\n'


def test_text_in_folders_of_classes_is_read_as_camera_toml_says(tmp_path: Path, tmkt: Any) -> None:
    root = folder_of_text(tmp_path / "data", CAMERA)
    (found,) = dataset("folders").find_recordings(root)
    events = read_recording(found, SENSOR)
    assert (events.sensor, rows([events])) == (SENSOR, rows([EVENTS]))
    assert rows(open_recording(root / "left" / "a.txt")) == rows([EVENTS])
    done = tmkt("data", "check", root, "--json")
    assert (done.json["corrupt"], done.json["recordings"]) == ([], 1)
    done = tmkt("data", "info", root / "left" / "a.txt", "--json")
    assert (done.json["sensor"], done.json["events"]) == ({"width": 120, "height": 100}, 50)


def test_a_cache_of_frames_does_not_outlive_a_change_of_camera_toml(tmp_path: Path) -> None:
    from tmkt.datasets.decoded import _form

    root = folder_of_text(tmp_path / "data", CAMERA)
    before = [_form(r) for r in dataset("folders").find_recordings(root)]
    (root / "camera.toml").write_text(CAMERA.replace("ms", "us"))
    assert [_form(r) for r in dataset("folders").find_recordings(root)] != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("columns = 3\n", "columns = 3, expected columns ="),
        ('columns = "x,y,t"\n', "columns = 'x,y,t': no column for p"),
        ('time_unit = "h"\n', "time_unit = 'h', expected one of s, ms, us, ns"),
        ('columns = "t,x,y,p"\nwidth = 4\n', "expected width = 640 and height = 480"),
        ("", "holds nothing, expected width = 640"),
    ],
)
def test_what_camera_toml_cannot_say_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "camera.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        find_camera(tmp_path / "a.txt")


def test_the_nearest_camera_toml_counts_and_a_file_that_contradicts_it_is_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "class" / "session" / "a.npz"
    path.parent.mkdir(parents=True)
    write_example("npz", path, EVENTS)
    (tmp_path / "camera.toml").write_text("width = 9\nheight = 9\n")
    with pytest.raises(InputError, match=r"sensor of 120x100, but .*camera.toml says 9x9; mend it"):
        open_recording(path)
    (path.parent / "camera.toml").write_text("width = 120\nheight = 100\n")
    with closing(open_recording(path)) as source:
        assert source.sensor == SENSOR


def test_commands_say_alike_that_nobody_said_the_size(tmp_path: Path, tmkt: Any) -> None:
    for name in ("left/a.bin", "right/b.bin"):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        write_example("atis", tmp_path / "data" / name, EVENTS)
    said = "the file does not say its camera's size; write "
    checked = tmkt("data", "check", tmp_path / "data")
    assert checked.code == 2
    assert f"left/a.bin: {said}{tmp_path / 'data' / 'camera.toml'} with the lines: width" in (
        checked.err
    )
    info = tmkt("data", "info", tmp_path / "data" / "left" / "a.bin")
    assert info.code == 0
    assert f"left/a.bin: {said}" in info.err


def test_text_beside_other_recordings_counts_only_if_it_holds_events(tmp_path: Path) -> None:
    folder = tmp_path / "left"
    folder.mkdir()
    write_example("es", folder / "a.es", EVENTS)
    write_example("csv", folder / "b.csv", EVENTS)
    (folder / "readme.txt").write_text("about these recordings")
    found = dataset("folders").find_recordings(tmp_path)
    assert [r.path.name for r in found] == ["a.es", "b.csv"]
    (folder / "a.es").unlink()  # all are text: a damaged one is not passed over
    assert len(dataset("folders").find_recordings(tmp_path)) == 2
