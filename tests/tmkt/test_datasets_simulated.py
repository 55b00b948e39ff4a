"""`tmkt data simulate --images`: a folder of images as a folder of simulated recordings."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_datasets import write_caltech101, write_colour
from PIL import Image

from tmkt.datasets.folders import folders
from tmkt.datasets.ncaltech101 import CLASSES
from tmkt.datasets.registry import dataset
from tmkt.datasets.simulated import MARKER, SIMULATED, Simulation, simulate_images
from tmkt.errors import InputError
from tmkt.readers.atis import read_bin
from tmkt.recipe import load_recipe
from tmkt.runs import load_run
from tmkt.train import RECIPES
from tmkt.train.data import load_training_data
from tmkt.train.trainer import train

SMALL = Simulation((18, 24))
Command = Callable[..., Any]


def images(root: Path, names: str = "ant/image_0001 ant/image_0002 bee/a") -> Path:
    for i, name in enumerate(names.split()):
        write_colour(root / f"{name}.jpg", (30 + 10 * i, 40), i)
    return root


def recordings(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_same_bytes_whatever_the_number_of_threads_and_however_many_at_once(tmp_path: Path) -> None:
    source = images(tmp_path / "images")
    for name, threads in (("one", 1), ("three", 3)):
        simulate_images(source, tmp_path / name, SMALL, threads=threads)
    simulate_images(source, tmp_path / "slowly", SMALL, per_class=1)
    done: list[tuple[int, int]] = []
    rest = simulate_images(
        source, tmp_path / "slowly", SMALL, progress=lambda *now: done.append(now)
    )
    assert (rest.made, rest.there) == (1, 2)
    assert done == [(3, 3)]
    one = recordings(tmp_path / "one")
    assert set(one) == {
        "camera.toml",
        MARKER,
        "ant/image_0001.bin",
        "ant/image_0002.bin",
        "bee/a.bin",
    }
    assert one == recordings(tmp_path / "three") == recordings(tmp_path / "slowly")
    simulate_images(source, tmp_path / "other", Simulation((18, 24), seed=1))
    assert recordings(tmp_path / "other")["bee/a.bin"] != one["bee/a.bin"]


def test_a_recording_has_its_images_proportions_in_the_sensors_middle(tmp_path: Path) -> None:
    pixels = np.zeros((10, 40, 3), np.uint8)
    pixels[:, ::4] = 255  # columns of light: every pixel sees an edge pass
    (tmp_path / "images" / "a").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "images" / "a" / "wide.png")
    simulate_images(tmp_path / "images", tmp_path / "out", Simulation((36, 48)))
    events = read_bin(tmp_path / "out" / "a" / "wide.bin", (36, 48))
    assert (events.x.min(), events.x.max()) == (0, 47)
    assert (events.y.min(), events.y.max()) == (12, 23)
    assert 250_000 < events.t[-1] < 300_000


def test_the_recordings_are_found_as_folders_and_said_to_be_simulated(
    tmp_path: Path, tmkt: Command
) -> None:
    source = images(tmp_path / "images", "ant/1 ant/2 ant/3 bee/1 bee/2 bee/3")
    out = tmp_path / "out"
    done = tmkt("data", "simulate", out, "--images", source, "--sensor", "24x18")
    assert "6 simulated recordings" in done.err
    assert f"tmkt data check {out} --static {source}" in done.err
    assert "no real camera" in json.loads((out / MARKER).read_text())["recordings"]
    found = folders(()).find_recordings(out)
    assert [r.instance for r in found] == ["ant/1", "ant/2", "ant/3", "bee/1", "bee/2", "bee/3"]
    again = tmkt("data", "simulate", out, "--images", source, "--sensor", "24x18")
    assert "0 simulated recordings; 6 were there" in again.err
    small = [
        "data.name=folders",
        "data.shots=1",
        "network.channels=[2]",
        "network.strides=[4]",
        "network.pools=[1]",
        "train.steps=1",
        "train.batch=2",
    ]
    run = train(load_recipe("digits", RECIPES, small), out, source, tmp_path / "run")
    assert load_run(run.path).info["test"]["recordings"] == SIMULATED


def test_caltech101_recorded_here_pairs_with_its_images_as_the_papers_recipe_expects(
    tmp_path: Path,
) -> None:
    write_caltech101(tmp_path, [*CLASSES, "Faces"], 2)
    source = tmp_path / "101_ObjectCategories"
    simulate_images(source, tmp_path / "events", SMALL)
    ours = dataset("ncaltech101")
    shown = set(ours.load_images(source, (4, 4)).instances) if ours.load_images else set()
    assert {r.instance for r in ours.find_recordings(tmp_path / "events")} == shown
    recipe = load_recipe("ncaltech101-tmkt", RECIPES, ["data.protocol=instance-disjoint"])
    data = load_training_data(recipe, tmp_path / "events", tmp_path, True)
    assert (len(data.frames), len(data.test_frames)) == (101, 101)
    assert data.images is not None
    assert set(data.images.instances) == set(data.trained_on)
    assert data.test_are == SIMULATED


def test_images_that_cannot_be_recorded_are_named_and_the_others_are_recorded(
    tmp_path: Path,
) -> None:
    source = images(tmp_path / "images")
    (source / "bee" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")
    with pytest.raises(InputError, match=r"torn\.jpg: .*; 1 of 4 images were not recorded"):
        simulate_images(source, tmp_path / "out", SMALL)
    assert len(recordings(tmp_path / "out")) == 3 + 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["out", "--images", "nowhere"], "nowhere: no such folder"),
        (["out", "--images", "out"], "out: holds no <class>/<name>"),
        (["images", "--images", "images"], "images: exists and holds no simulated.json"),
        (["new", "--images", "images", "--sensor", "640x480"], "at most 256 columns"),
        (["new", "--images", "images", "--force"], "--force: replaces digits"),
        (["new", "--sensor", "24x18"], "--sensor 24x18: digits are recorded with"),
        (["done", "--images", "images"], "done: holds recordings that were made with other"),
        (["new", "--images", "twins"], "a.png: has the name of a.jpg"),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_one_line(
    tmp_path: Path,
    tmkt: Command,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    simulate_images(images(tmp_path / "images"), tmp_path / "done", SMALL)
    write_colour(images(tmp_path / "twins") / "bee" / "a.png", (9, 9), 0)
    done = tmkt("data", "simulate", *arguments)
    assert done.code == 2
    assert expected in done.err
    assert not (tmp_path / "new").exists()


def test_a_killed_simulation_leaves_whole_files_and_goes_on(tmp_path: Path) -> None:
    source = images(tmp_path / "images", " ".join(f"a/{i}" for i in range(40)))
    code = (
        "import sys; from pathlib import Path\n"
        "from tmkt.datasets.simulated import *\n"
        f"simulate_images(Path({str(source)!r}), Path(sys.argv[1]), Simulation((60, 80)))"
    )
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", code, str(out)])
    while not list(out.glob("a/*.bin")) and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    simulate_images(source, out, Simulation((60, 80)))
    simulate_images(source, tmp_path / "whole", Simulation((60, 80)))
    assert recordings(out) == recordings(tmp_path / "whole")
