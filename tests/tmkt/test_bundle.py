"""A bundle is whole or it is refused."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tmkt import bundle as bundles
from tmkt import files, runs
from tmkt.errors import InputError
from tmkt.events.frames import InputContract
from tmkt.program import file as program_file
from tmkt.program.model import INPUT, Layer, Program, Synapse

CONTRACT = InputContract((5, 4), 3, 1000, 2)


def example_program() -> Program:
    rng = np.random.default_rng(0)
    conv = Synapse(
        INPUT, "conv", rng.integers(-50, 50, (3, 2, 3, 3)).astype(np.int16), padding=(1, 1)
    )
    dense = Synapse("conv1", "dense", rng.integers(-50, 50, (2, 60)).astype(np.int16))
    first = Layer("conv1", (3, 5, 4), (conv,), np.arange(3, dtype=np.int32), 100, 2048, scale=100)
    return Program(
        CONTRACT.shape,
        2,
        (
            first,
            Layer("readout", (2,), (dense,), np.zeros(2, np.int32), 0, 0, fires=False, scale=9),
        ),
        "membrane",
    )


def write(path: Path) -> bundles.Bundle:
    writers: dict[str, Callable[[Path], Any]] = {
        name: lambda p, n=name: p.write_bytes(f"content of {n}".encode())
        for name in (bundles.NIR, bundles.ONNX)
    }
    origin = {"dataset": "nmnist", "trained_on": [], "images_trained_on": {}}
    return bundles.write(
        path, example_program(), CONTRACT, ["a", "b"], origin, [{"layer": "conv1"}], writers
    )


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((folder / bundles.MANIFEST).read_text())
    change(manifest)
    (folder / bundles.MANIFEST).write_text(json.dumps(manifest))


def rehash(folder: Path, name: str) -> None:
    """Makes the manifest agree with a file that was changed."""
    edit(
        folder,
        lambda m: m["files"][name].update(
            sha256=bundles.sha256(folder / name), bytes=(folder / name).stat().st_size
        ),
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write(tmp_path / "b")
    bundle = bundles.load(tmp_path / "b")
    assert bundle.contract == CONTRACT
    assert bundle.classes == ["a", "b"]
    assert bundle.manifest["origin"]["dataset"] == "nmnist"
    assert bundle.read(bundles.NIR) == b"content of network.nir"
    np.testing.assert_array_equal(
        bundle.program.layers[0].synapses[0].weight, example_program().layers[0].synapses[0].weight
    )


def test_filters_and_the_class_of_noise_are_read_back(tmp_path: Path) -> None:
    write(tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / bundles.MANIFEST).read_text())
    assert "filters" not in manifest["input"]
    assert "nothing" not in manifest
    filters = ["background:dt_us=10000,k=1", "refractory:pause_us=1000"]
    edit(tmp_path / "b", lambda m: m.update(nothing=1, input={**m["input"], "filters": filters}))
    bundle = bundles.load(tmp_path / "b")
    assert bundle.nothing == 1
    assert bundle.camera.filters == tuple(filters)
    assert bundles.rebinned(bundle, 2, None, None).camera.filters == tuple(filters)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda m: m.update(nothing=2), "nothing: class 2 of 2"),
        (lambda m: m["input"].update(filters=["backgrund"]), "backgrund"),
        (lambda m: m["input"].update(filters=["hot:file=/etc/passwd"]), "one camera"),
        (lambda m: m["input"].update(filters=["refractory"] * 17), "at most 16"),
    ],
)
def test_a_filter_or_class_that_cannot_be_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    write(tmp_path / "b")
    edit(tmp_path / "b", change)
    with pytest.raises(InputError, match=complaint):
        bundles.load(tmp_path / "b")


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / name)
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == sorted([bundles.MANIFEST, bundles.NIR, bundles.ONNX, bundles.PROGRAM])
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("name", [bundles.PROGRAM, bundles.NIR, bundles.ONNX])
@pytest.mark.parametrize("where", [0, -1])
def test_a_changed_byte_is_found_in_every_file(tmp_path: Path, name: str, where: int) -> None:
    write(tmp_path / "b")
    content = bytearray((tmp_path / "b" / name).read_bytes())
    content[where] ^= 1
    (tmp_path / "b" / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: differs from what was exported"):
        bundles.load(tmp_path / "b")


def test_a_file_that_grew_is_found(tmp_path: Path) -> None:
    write(tmp_path / "b")
    with open(tmp_path / "b" / bundles.NIR, "ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="differs"):
        bundles.load(tmp_path / "b")


@pytest.mark.parametrize("name", [bundles.PROGRAM, bundles.NIR, bundles.ONNX])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path / "b")
    (tmp_path / "b" / name).unlink()
    with pytest.raises(InputError, match=f"{name}: missing"):
        bundles.load(tmp_path / "b")


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/hostname", "a/b", "..\\outside", "..", ".", ""]
)
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path / "b")
    (tmp_path / "outside").write_bytes(b"content of network.nir")
    edit(tmp_path / "b", lambda m: m["files"].update({name: m["files"][bundles.NIR]}))
    with pytest.raises(InputError, match="must not leave its folder"):
        bundles.load(tmp_path / "b")


def test_a_newer_format_asks_for_an_update(tmp_path: Path) -> None:
    write(tmp_path / "b")
    edit(tmp_path / "b", lambda m: m.update(version=bundles.FORMAT_VERSION + 1))
    with pytest.raises(InputError, match="update tmkt"):
        bundles.load(tmp_path / "b")


def test_a_newer_program_asks_for_an_update(tmp_path: Path) -> None:
    write(tmp_path / "b")
    with open(tmp_path / "b" / bundles.PROGRAM, "r+b") as file:
        content = file.read()
        file.seek(0)
        file.write(content.replace(b'{\\"version\\": 1,', b'{\\"version\\": 3,'))
    rehash(tmp_path / "b", bundles.PROGRAM)
    with pytest.raises(InputError, match=r"program format 3.*update tmkt"):
        bundles.load(tmp_path / "b")


LAYER = {"layer": "conv1"}  # of a quantisation report
CALIBRATED = {**LAYER, "same_class": 1.0, "calibration_recordings": 64}


def test_a_report_on_the_integers_may_leave_out_what_was_not_measured(tmp_path: Path) -> None:
    write(tmp_path / "b")
    for report in (LAYER, CALIBRATED):
        edit(tmp_path / "b", lambda m, report=report: m.update(quantisation=[report]))
        assert bundles.load(tmp_path / "b").manifest["quantisation"] == [report]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.clear(),
        lambda m: m.pop("input"),
        lambda m: m["input"].update(sensor=5),
        lambda m: m["input"].update(unknown=1),
        lambda m: m["input"].update(bins=10**12),
        lambda m: m["input"].update(bins="3"),
        lambda m: m["input"].update(bin_us=0),
        lambda m: m["files"].pop(bundles.PROGRAM),
        lambda m: m.update(files=[1]),
        lambda m: m.update(version="x"),
        lambda m: m["files"][bundles.NIR].pop("sha256"),
        lambda m: m["files"][bundles.NIR].update(bytes=float("inf")),
        lambda m: m["input"].update(sensor=[5.0, 4.0]),
        lambda m: m["input"].update(max_count=True),
        lambda m: m.update(version=float("nan")),
        lambda m: m.update(version=0),
        lambda m: m.update(classes="ab"),
        lambda m: m.update(quantisation=3),
        lambda m: m.update(quantisation=[[]]),
        lambda m: m.update(quantisation=[{**LAYER, "spike_rate": "x"}]),
        lambda m: m.update(quantisation=[{**LAYER, "silent_neurons": []}]),
        lambda m: m.update(quantisation=[{**LAYER, "same_class": 10**400}]),
        lambda m: m.update(quantisation=[{**LAYER, "weight_error_rms": float("inf")}]),
        lambda m: m.update(quantisation=[{"spike_rate": 0.5}]),
        lambda m: m.update(quantisation=[{**LAYER, "same_class": 1.0}]),
        lambda m: m.update(quantisation=[{**CALIBRATED, "accuracy": 1.0}]),
        lambda m: m.update(quantisation=[{**CALIBRATED, "calibration_recordings": "x"}]),
        lambda m: m["origin"].update(recipe=[]),
        lambda m: m["origin"].update(recipe={"data": "x"}),
        lambda m: m.pop("origin"),
        lambda m: m["origin"].update(dataset=["nmnist"]),
        lambda m: m["origin"].update(trained_on=[{}]),
        lambda m: m["origin"].update(images_trained_on={"mnist-train": [[3]]}),
        lambda m: m["origin"].update(images_trained_on={"mnist-train": [[0, 10**12]]}),
    ],
)
def test_a_damaged_manifest_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    write(tmp_path / "b")
    edit(tmp_path / "b", change)
    with pytest.raises(InputError, match="damaged"):
        bundles.load(tmp_path / "b")


@pytest.mark.parametrize(
    "text",
    ["", "[1, 2]", "[" * 100_000, "{", "null", "\ud800".encode("utf-16-le", "surrogatepass")],
)
def test_a_manifest_that_is_no_json_object_is_refused(tmp_path: Path, text: str | bytes) -> None:
    write(tmp_path / "b")
    (tmp_path / "b" / bundles.MANIFEST).write_bytes(
        text if isinstance(text, bytes) else text.encode()
    )
    with pytest.raises(InputError, match="damaged"):
        bundles.load(tmp_path / "b")


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["input"].update(sensor=[5, 5]),
        lambda m: m["input"].update(max_count=1),
        lambda m: m["classes"].append("c"),
    ],
)
def test_a_manifest_that_does_not_fit_the_program_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    write(tmp_path / "b")
    edit(tmp_path / "b", change)
    with pytest.raises(InputError, match="do not fit the program"):
        bundles.load(tmp_path / "b")


def test_another_format_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "b")
    edit(tmp_path / "b", lambda m: m.update(format="zip"))
    with pytest.raises(InputError, match="format 'zip'"):
        bundles.load(tmp_path / "b")


def test_a_program_with_integers_out_of_range_is_refused_though_its_hash_fits(
    tmp_path: Path,
) -> None:
    write(tmp_path / "b")
    path = tmp_path / "b" / bundles.PROGRAM
    program_file.save(example_program(), path)
    tensors, header = read(path)
    tensors["conv1/0/weight"][0, 0, 0, 0] = 300
    save_file(tensors, path, metadata=header)
    rehash(tmp_path / "b", bundles.PROGRAM)
    with pytest.raises(InputError, match=r"largest \|weight\|: found 300, expected at most 254"):
        bundles.load(tmp_path / "b")


def read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return {key: file.get_tensor(key).copy() for key in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.mark.parametrize("make", [Path.exists, lambda p: p.mkdir(), lambda p: p.write_text("x")])
def test_no_bundle_says_how_to_make_one(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "b")
    with pytest.raises(InputError, match="tmkt export"):
        bundles.load(tmp_path / "b")


def test_a_file_that_was_left_out_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no loihi\.net"):
        write(tmp_path / "b").read(bundles.LAVA)


def test_a_writer_that_fails_leaves_no_bundle_and_keeps_the_old_one(tmp_path: Path) -> None:
    def fail(_path: Path) -> None:
        raise OSError(28, "No space left on device")

    arguments = (example_program(), CONTRACT, ["a", "b"], {}, [], {bundles.NIR: fail})
    with pytest.raises(InputError, match="No space left"):
        bundles.write(tmp_path / "new", *arguments)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "old")
    with pytest.raises(InputError, match="No space left"):
        bundles.write(tmp_path / "old", *arguments)
    assert bundles.load(tmp_path / "old").classes == ["a", "b"]
    assert [p.name for p in tmp_path.iterdir()] == ["old"]


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not replaced"):
        write(tmp_path / "b")
    assert (tmp_path / "b" / "thesis.txt").read_text() == "mine"


def test_a_bundle_is_what_was_read_whatever_happens_to_its_folder(tmp_path: Path) -> None:
    bundle = write(tmp_path / "b")
    shutil.rmtree(tmp_path / "b")
    assert bundle.read(bundles.NIR) == b"content of network.nir"
    assert hashlib.sha256(bundle.contents[bundles.MANIFEST]).hexdigest()


def test_a_bundle_that_is_replaced_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    """Replace it by two others in turn, as quick as can be, while this process reads it."""
    for name in ("a", "b", "c"):
        folder = write(tmp_path / name).path
        (folder / bundles.NIR).write_bytes(name.encode() * 1000)
        rehash(folder, bundles.NIR)
    code = """
import sys
from pathlib import Path
a, b, c, seconds = *map(Path, sys.argv[1:4]), 3
import time
from tmkt.files import writing_folder
contents = [{p.name: p.read_bytes() for p in folder.iterdir()} for folder in (b, c)]
end, turn = time.monotonic() + seconds, 0
print("here", flush=True)
while time.monotonic() < end:
    with writing_folder(a, "manifest.json") as folder:
        for name, content in contents[turn % 2].items():
            (folder / name).write_bytes(content)
    turn += 1
"""
    command = [sys.executable, "-c", code, *(str(tmp_path / name) for name in "abc")]
    found = set()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        while process.poll() is None:
            found.add(bundles.load(tmp_path / "a").read(bundles.NIR)[:1])
    assert process.returncode == 0
    assert found >= {b"b", b"c"}


def test_a_bundle_that_a_killed_export_moved_away_is_put_back(tmp_path: Path) -> None:
    folder = write(tmp_path / "b").path
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    folder.rename(tmp_path / f".b.{dead.pid}.old")
    assert bundles.load(folder).read(bundles.NIR) == b"content of network.nir"


def test_a_bundle_that_is_too_large_for_memory_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "b").path
    with (folder / bundles.NIR).open("r+b") as file:
        file.truncate(2 * bundles.MAX_BYTES)  # takes no room on the disk
    edit(folder, lambda m: m["files"][bundles.NIR].update(bytes=2 * bundles.MAX_BYTES))
    with pytest.raises(InputError, match="expected at most 1073741824"):
        bundles.load(folder)


def test_a_run_is_told_from_a_bundle_with_the_command_that_exports_it(tmp_path: Path) -> None:
    assert bundles.OF_A_RUN == runs.RECIPE
    run = tmp_path / "my run"
    run.mkdir()
    (run / runs.RECIPE).touch()
    with pytest.raises(InputError) as error:
        bundles.load(run)
    assert str(error.value) == (
        f"{run}: is a run, expected a bundle; make one with: tmkt export '{run}' --out"
        " 'bundles/my run'"
    )


@pytest.mark.parametrize("name", [bundles.MANIFEST, bundles.PROGRAM, bundles.NIR])
def test_a_file_that_the_system_does_not_let_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Root, as who tests may run, may read everything."""
    write(tmp_path / "b")
    opened, read_bytes = files.open_plain, Path.read_bytes

    def refuse(path: Path) -> None:
        if path.name == name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(files, "open_plain", lambda path: refuse(path) or opened(path))
    monkeypatch.setattr(Path, "read_bytes", lambda path: refuse(path) or read_bytes(path))
    with pytest.raises(InputError, match=rf"{name}: cannot be read \(Permission denied\); check"):
        bundles.load(tmp_path / "b")
