"""`tmkt data convert` of a folder: all recordings, in their folders, whatever happens to some."""

from pathlib import Path
from typing import Any

import pytest
from example_files import SENSOR, random_events, rows, write_example

from tmkt.datasets.registry import dataset
from tmkt.readers import open_events

EVENTS = random_events(200)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Write recordings of several formats, in folders of classes and of sessions."""
    folder = tmp_path / "recordings"
    for name in ("left/a.raw", "left/b.npz", "right/session1/a.aedat4", "right/c.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    write_example("evt3", folder / "left/a.raw", EVENTS)
    write_example("npz", folder / "left/b.npz", EVENTS)
    write_example("aedat4", folder / "right/session1/a.aedat4", EVENTS)
    write_example("csv", folder / "right/c.csv", EVENTS)
    (folder / "right/notes.txt").write_text("the second day\n")
    return folder


@pytest.mark.parametrize(("format", "ending"), [("aedat4", "aedat4"), ("atis", "bin")])
def test_a_folder_is_converted_with_its_classes(
    tmkt: Any, tmp_path: Path, recordings: Path, format: str, ending: str
) -> None:
    out = tmp_path / "out"
    done = tmkt("data", "convert", recordings, out, "--to", format, "--json")
    assert done.code == 0, done.err
    assert (done.json["converted"], done.json["events"]) == (4, 800)
    assert (done.json["failed"], done.json["other_files"]) == ([], 1)
    made = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    names = ["left/a", "left/b", "right/c", "right/session1/a"]
    camera = ["camera.toml"] if format == "atis" else []  # which says what .bin files do not
    assert made == sorted([*camera, *(f"{name}.{ending}" for name in names)])
    assert [r.view.sensor for r in dataset("folders").find_recordings(out) if r.view] == [
        SENSOR
    ] * 4
    assert rows(open_events(out / f"right/c.{ending}", sensor=SENSOR)) == rows([EVENTS])


def test_a_damaged_file_is_named_and_the_others_are_converted_once(
    tmkt: Any, tmp_path: Path, recordings: Path
) -> None:
    damaged = recordings / "left/b.npz"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:300])
    convert = ("data", "convert", recordings, tmp_path / "out", "--to", "es")
    done = tmkt(*convert)
    assert (done.code, done.out) == (2, "")
    assert f"not converted: {damaged}: " in done.err
    assert "3 recordings as es" in done.err
    assert done.err.splitlines()[-1].startswith(f"tmkt: {recordings}: 1 of 4 recordings not")
    assert not (tmp_path / "out/left/b.es").exists()
    damaged.write_bytes(whole)
    first = (tmp_path / "out/left/a.es").stat()
    done = tmkt(*convert)
    assert done.code == 0
    assert "1 recordings as es, 200 events; 3 were there and are left as they are" in done.err
    assert (tmp_path / "out/left/a.es").stat() == first
    assert "4 recordings as es" in tmkt(*convert, "--force").err


def test_files_that_fail_alike_are_one_line(tmkt: Any, tmp_path: Path) -> None:
    for name in "abcdefghijklmn":
        path = tmp_path / "recordings" / name / "0.bin"
        path.parent.mkdir(parents=True)
        write_example("atis", path, EVENTS)
    done = tmkt("data", "convert", tmp_path / "recordings", tmp_path / "out", "--to", "csv")
    assert (done.code, done.err.count("not converted: ")) == (2, 1)
    assert f"{tmp_path}/recordings/a/0.bin: the file does not say its camera's size" in done.err
    assert "(and 13 others for the same reason)" in done.err


def test_wrong_use_is_one_line_and_converts_nothing(
    tmkt: Any, tmp_path: Path, recordings: Path
) -> None:
    write_example("es", recordings / "left/a.es", EVENTS)
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        ((recordings, out), "a folder and no --to, expected --to atis, "),
        ((recordings, out, "--to", "npy"), "--to 'npy'"),
        ((recordings, recordings, "--to", "npz"), "is no free folder"),
        ((recordings, out, "--to", "npz"), "left/a.npz as a.es would; rename one"),
        ((tmp_path / "empty", out, "--to", "npz"), "holds no recordings"),
    ):
        done = tmkt("data", "convert", *arguments)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
        assert message in done.err
    assert not out.exists()
