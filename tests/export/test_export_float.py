"""A network that was trained on the papers' interpolated frames is no network for a chip."""

from pathlib import Path

import pytest
from example_datasets import write_gesture_tonic

from tmkt.errors import InputError
from tmkt.export.export import export_run
from tmkt.recipe import parse_recipe
from tmkt.train.trainer import train


def test_a_network_trained_on_float_frames_is_not_exported(tmp_path: Path) -> None:
    write_gesture_tonic(tmp_path, [1, 2])
    data = {
        "name": "dvsgesture",
        "shots": 1,
        "sensor": [8, 8],
        "frames": "float",
        "bins": 2,
        "bin_us": 1,
    }
    network = {"channels": [4], "strides": [2], "pools": [1]}
    settings = {"steps": 1, "batch": 2, "threads": 1}
    recipe = parse_recipe(
        {"data": data, "network": network, "method": {"name": "target-only"}, "train": settings},
        "test",
    )
    run = train(recipe, tmp_path, None, tmp_path / "run")
    with pytest.raises(
        InputError, match=r"trained on interpolated frames.*expected counts.*data\.frames=counts"
    ):
        export_run(run, tmp_path / "bundle", {"all"}, 8, run.load_calibration())
    assert not (tmp_path / "bundle").exists()
