"""One small valid file of every format that is read, and the calls that read it."""

import gzip
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
from example_datasets import (
    write_cepdvs,
    write_cifar10_binary,
    write_cifar10_python,
    write_gesture_official,
    write_gesture_tonic,
    write_nomniglot,
)
from example_files import SENSOR, random_events, write_example
from example_nir import affine, conv, flatten, graph, lif
from PIL import Image

from tmkt.deploy.energy.constants import DEVICES
from tmkt.deploy.recorded.file import write_recorded
from tmkt.deploy.recorded.types import Recorded
from tmkt.readers.detect import FORMATS
from tmkt.recipe import dump_recipe, load_recipe
from tmkt.train import RECIPES

Call = tuple[Any, ...]
SENSORS = {"aedat1": (128, 128), "aedat2": (180, 240), "aedat3": (128, 128)}
SUFFIXES = {"atis": "bin", "hdf5": "h5", "ecf": "h5", "evt2": "raw", "evt21": "raw", "evt3": "raw"}
OFTEN, SELDOM = 20, 1  # damaged files of a case, in relation to others: by how long a call takes


@dataclass(frozen=True)
class Readable:
    """A valid file, and the calls of tests/support/worker.py that read it or its folder."""

    name: str
    path: Path
    calls: tuple[Call, ...]
    share: int = OFTEN

    @property
    def text(self) -> bool:
        """True for a file of text, whose values may be of a wrong kind."""
        return self.path.suffix in (".toml", ".json", ".jsonl", ".csv")


def readable_files(root: Path) -> list[Readable]:
    """Write all files, each in a folder of its own in `root`."""
    root.mkdir(parents=True, exist_ok=True)
    makers = (_recordings, _data_sets, _images, _networks, _spikes, _settings)
    return [made for maker in makers for made in maker(root)]


def _recordings(root: Path) -> Iterator[Readable]:
    for format in (*FORMATS, "aedat1", "ecf"):
        height, width = SENSORS.get(format, SENSOR)
        path = root / format / f"a.{SUFFIXES.get(format, format.rstrip('1234'))}"
        path.parent.mkdir()
        write_example(format, path, random_events(300, (height, width)))
        info = ("tmkt", "data", "info", path, "--json", "--sensor", f"{width}x{height}")
        yield Readable(format, path, (info, (*info, "--repair"), ("read", path, width, height)))


def _data_sets(root: Path) -> Iterator[Readable]:
    write_gesture_tonic(root / "tonic", [1])
    folder = root / "tonic" / "DVSGesture" / "ibmGestureTrain" / "user01_led"
    for other in list(folder.iterdir())[2:]:
        other.unlink()
    check = ("tmkt", "data", "check", root / "tonic", "--json")
    path = min(folder.iterdir())
    yield Readable("tonic .npy", path, (("read", path, 128, 128), check))

    write_gesture_official(root / "gesture", [1])
    folder = root / "gesture" / "DvsGesture"
    check = ("tmkt", "data", "check", root / "gesture", "--json")
    for name in ("user01_led.aedat", "user01_led_labels.csv"):
        yield Readable(f"gesture {name[10:]}", folder / name, (check,))

    write_cepdvs(root / "cepdvs", ["fish"], 2)
    check = ("tmkt", "data", "check", root / "cepdvs", "--static", root / "cepdvs", "--json")
    path = root / "cepdvs" / "data" / "MAT" / "img" / "00000.mat"
    yield Readable("cepdvs .mat", path, (check,))
    yield Readable("cepdvs pathFile.csv", root / "cepdvs" / "pathFile.csv", (check,))

    write_nomniglot(root / "nomniglot", {"dvs_background/Greek/character01": 1}, 3)
    check = ("tmkt", "data", "check", root / "nomniglot", "--name", "nomniglot", "--json")
    folder = root / "nomniglot" / "dvs_background" / "Greek" / "character01"
    yield Readable("nomniglot .csv", folder / "0001.csv", (check,))

    (root / "folders" / "class").mkdir(parents=True)
    write_example("atis", root / "folders" / "class" / "a.bin", random_events(300))
    camera = root / "folders" / "camera.toml"
    camera.write_text("width = 120\nheight = 100\n")
    check = ("tmkt", "data", "check", root / "folders", "--name", "folders", "--json")
    yield Readable("camera.toml", camera, (check,))


def _images(root: Path) -> Iterator[Readable]:
    (root / "images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    for suffix in ("png", "jpg", "bmp"):
        path = root / "images" / f"a.{suffix}"
        Image.fromarray(pixels).save(path)
        yield Readable(suffix, path, (("image", path),))

    packed, plain = root / "mnist.gz", root / "mnist"
    images = struct.pack(">4I", 0x803, 20, 28, 28) + bytes(range(256)) * 61 + bytes(64)
    labels = struct.pack(">2I", 0x801, 20) + bytes(range(10)) * 2
    for folder in (packed, plain):
        folder.mkdir()
        (folder / "train-labels-idx1-ubyte").write_bytes(labels)
    (packed / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (plain / "train-images-idx3-ubyte").write_bytes(images)
    for name, path in (
        ("idx.gz", packed / "train-images-idx3-ubyte.gz"),
        ("idx images", plain / "train-images-idx3-ubyte"),
        ("idx labels", plain / "train-labels-idx1-ubyte"),
    ):
        yield Readable(name, path, (("images", "nmnist", path.parent),))

    write_cifar10_binary(root / "cifar-bin", 1)
    write_cifar10_python(root / "cifar-py", 1)
    for name in ("cifar-bin", "cifar-py"):
        path = min((root / name).rglob("data_batch_1*"))
        yield Readable(name, path, (("images", "cifar10dvs", path.parent),), share=OFTEN // 2)


def _networks(root: Path) -> Iterator[Readable]:
    path = root / "network.nir"
    first = conv(4, 2)
    first.input_shape = (8, 8)
    nir.write(
        path,
        graph(
            (2, 8, 8),
            {
                "conv": first,
                "neurons": lif(4, 8, 8),
                "flat": flatten(4, 8, 8),
                "linear": affine(10, 256),
                "out": lif(10),
            },
        ),
    )
    yield Readable("nir", path, (("tmkt", "fit", path), ("float", path)), share=OFTEN // 2)
    device = root / "device.toml"
    shutil.copy(DEVICES / "loihi2.toml", device)
    fit = ("tmkt", "fit", path, "--device", device)
    yield Readable("device", device, (fit,), share=OFTEN // 2)


def _spikes(root: Path) -> Iterator[Readable]:
    spikes, labels = np.ones((2, 3, 4), np.uint8), np.arange(2)
    np.savez(root / "trains.npz", spikes=spikes, labels=labels)
    with h5py.File(root / "lists.h5", "w") as file:
        for name, values in (("times", [0.1, 0.2]), ("units", np.arange(2))):
            lists = file.create_dataset(
                f"spikes/{name}", (2,), h5py.vlen_dtype(np.asarray(values).dtype)
            )
            lists[0] = lists[1] = values
        file["labels"] = labels
    for name in ("trains.npz", "lists.h5"):
        yield Readable(f"spikes {name}", root / name, (("spikes", root / name),))
    made = Recorded({"a": spikes}, {"a": spikes.astype(np.int64)})
    for name in ("recorded.npz", "recorded.nir"):
        write_recorded(made, root / name, 1e-3)
        yield Readable(name, root / name, (("recorded", root / name),))


def _settings(root: Path) -> Iterator[Readable]:
    path = root / "recipe.toml"
    path.write_text(dump_recipe(load_recipe("nmnist-fewshot", RECIPES)))
    yield Readable("recipe", path, (("tmkt", "fit", path),), share=OFTEN // 2)


def made_by_commands(root: Path, run: Path, bundle: Path) -> list[Readable]:
    """Give the files of a run and of its bundle, as copies in `root`."""
    shutil.copytree(run, root / "run")
    shutil.copytree(bundle, root / "bundle")
    out = root / "report.html"
    report = ("tmkt", "report", root / "run", "--out", out, "--engines", "simulator")
    of_bundle = ("tmkt", "report", root / "bundle", "--out", out, "--engines", "simulator")
    fit = ("tmkt", "fit", root / "bundle")
    files = [
        *((f"run {name}", root / "run" / name, report) for name in ("recipe.toml", "run.json")),
        ("run metrics.jsonl", root / "run" / "metrics.jsonl", report),
        ("run model.safetensors", root / "run" / "model.safetensors", report),
        ("bundle manifest.json", root / "bundle" / "manifest.json", of_bundle),
        ("bundle program.safetensors", root / "bundle" / "program.safetensors", fit),
    ]
    return [
        Readable(name, path, (call,), share=SELDOM) for name, path, call in files if path.exists()
    ]
