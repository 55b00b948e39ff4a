"""A run becomes a bundle."""

from pathlib import Path

import numpy as np
import pytest
from example_networks import make_frames, make_network
from safetensors.torch import save_file

from tmkt import bundle as bundles
from tmkt.errors import InputError
from tmkt.export.export import export_run
from tmkt.recipe import Recipe
from tmkt.runs import MODEL, Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    recipe = Recipe.model_validate(
        {
            "data": {"name": "nmnist", "shots": 1, "bins": 4, "bin_us": 30000, "max_count": 3},
            "network": {"channels": [8, 12, 16], "strides": [2, 1, 1], "pools": [1, 2, 2]},
            "method": {"name": "target-only"},
            "train": {"steps": 1},
        }
    )
    folder = tmp_path / "run"
    folder.mkdir()
    save_file(make_network().state_dict(), folder / MODEL)
    info = {
        "sensor": [34, 34],
        "classes": [str(i) for i in range(10)],
        "trained_on": ["nmnist-train-21"],
        "images_trained_on": {},
    }
    return Run(folder, recipe, info)


def test_a_bundle_holds_all_files_and_says_how_it_was_made(run: Run, tmp_path: Path) -> None:
    bundle = export_run(run, tmp_path / "bundle", {"all"}, 8, make_frames(2, 4, (2, 34, 34)))
    named = {
        bundles.PROGRAM,
        bundles.LAVA,
        bundles.NIR,
        bundles.NIR_INTEGERS,
        bundles.ONNX,
        bundles.ONNX_FLOAT,
        bundles.C_SOURCE,
        bundles.C_HEADER,
    }
    assert set(bundle.manifest["files"]) == named
    assert (
        bundle.contract.bins,
        bundle.contract.bin_us,
        bundle.contract.max_count,
        bundle.contract.sensor,
    ) == (4, 30000, 3, (34, 34))
    assert bundle.manifest["origin"]["trained_on"] == ["nmnist-train-21"]
    assert bundle.manifest["origin"]["recipe"]["data"]["shots"] == 1
    assert bundle.manifest["origin"]["model_sha256"] == bundles.sha256(run.path / MODEL)
    assert [entry["layer"] for entry in bundle.manifest["quantisation"]] == [
        "conv1",
        "conv2",
        "conv3",
        "readout",
    ]


def test_the_same_run_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    frames = make_frames(2, 4, (2, 34, 34))
    for name in ("a", "b"):
        export_run(run, tmp_path / name, {"all"}, 8, frames)
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


def test_only_the_wanted_files_are_written(run: Run, tmp_path: Path) -> None:
    bundle = export_run(run, tmp_path / "bundle", ["onnx"], 4, make_frames(2, 4, (2, 34, 34)))
    assert set(bundle.manifest["files"]) == {bundles.PROGRAM, bundles.ONNX, bundles.ONNX_FLOAT}
    assert {entry["bits"] for entry in bundle.manifest["quantisation"]} == {4}


@pytest.mark.parametrize(
    ("targets", "samples", "message"),
    [
        (["onx"], 2, "target 'onx': unknown.*did you mean 'onnx'"),
        (["all"], 0, "calibration: frames of shape"),
    ],
)
def test_what_cannot_be_exported_leaves_nothing(
    run: Run, tmp_path: Path, targets: list[str], samples: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        export_run(
            run, tmp_path / "bundle", targets, 8, np.zeros((samples, 4, 2, 34, 34), np.uint8)
        )
    assert not (tmp_path / "bundle").exists()
