"""Tests of the command tmkt fit."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def test_a_recipe_a_run_a_nir_file_and_a_bundle_are_all_placed(tmkt: Any, pipeline: Any) -> None:
    reports = [
        tmkt("fit", target, "--json").json
        for target in ("digits", pipeline.run, pipeline.bundle / "network.nir", pipeline.bundle)
    ]
    for report in reports:
        assert report["fits"]
        assert report["device"] == "loihi2"
        assert (
            report["cores"]
            == reports[0]["cores"]
            == sum(layer["cores"] for layer in report["layers"])
        )
        assert report["chips"] == 1
        assert [layer["name"] for layer in report["layers"]] == [
            "conv1",
            "conv2",
            "conv3",
            "readout",
        ]
        assert report["traffic"] is None  # nothing was run
        assert report["step_time"]["assumed_rates"] == [0.01, 0.1]
        assert all(row["source"] for row in report["limits"])


def test_a_recipe_of_a_fixed_family_has_all_its_layers(tmkt: Any) -> None:
    done = tmkt("fit", "ncaltech101-kt", "--json")
    names = [layer["name"] for layer in done.json["layers"]]
    assert names == [*(f"conv{i}" for i in range(1, 9)), "readout"]
    assert done.code == 1
    assert not done.json["fits"]


def test_recordings_give_traffic_and_a_narrower_time(tmkt: Any, pipeline: Any) -> None:
    counted = tmkt(
        "fit",
        pipeline.bundle,
        "--device",
        "loihi1",
        "--data",
        pipeline.data,
        "--limit",
        4,
        "--json",
    ).json
    traffic, time = counted["traffic"], counted["step_time"]
    assert traffic["samples"] == 4
    assert [(link["source"], link["target"]) for link in traffic["links"]][:2] == [
        ("input", "conv1"),
        ("conv1", "conv2"),
    ]
    assert traffic["hops_per_sample"] > 0
    assert traffic["messages_per_sample"] == sum(
        link["messages_per_sample"] for link in traffic["links"]
    )
    assert time["assumed_rates"] is None
    assert 0 < time["low_us"] < time["high_us"] <= time["slowest_high_us"]
    shown = tmkt("fit", pipeline.bundle, "--data", pipeline.data, "--limit", 2)
    assert "Fits:" in shown.out
    assert "Busiest core" in shown.out
    assert "A step takes" in shown.out


def test_spreading_is_faster(tmkt: Any, pipeline: Any) -> None:
    few, many = (
        tmkt("fit", pipeline.bundle, "--data", pipeline.data, "--limit", 4, "--json", *more).json
        for more in ((), ("--spread", 60))
    )
    assert few["cores"] < many["cores"] <= 60
    assert many["step_time"]["high_us"] < few["step_time"]["high_us"]


def test_a_misfit_ends_with_exit_code_1_and_what_to_change(tmkt: Any, tmp_path: Path) -> None:
    wide = tmp_path / "wide.toml"
    wide.write_text(
        '[data]\nname = "nmnist"\nshots = 5\nbin_us = 31600\n[network]\nchannels = [16, 512,'
        ' 64]\nstrides = [2, 1, 1]\npools = [1, 2, 1]\n[method]\nname = "tmkt"\n[train]\nsteps ='
        " 10\n"
    )
    done = tmkt("fit", wide)
    assert done.code == 1
    assert "DOES NOT FIT: no core holds any part of conv3" in done.out
    assert "conv3: stride 2 instead of pooling conv2 by 2" in done.out
    report = tmkt("fit", wide, "--json").json
    assert report["cores"] is None
    assert report["layers"][2]["over"] == ["synapse memory"]
    assert report["changed"]["cores"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing/here",), "no such file or folder"),
        (("nmnist-fewshoot",), "did you mean 'nmnist-fewshot'"),
        (("none.nir",), "no such file"),
        (("digits", "--device", "loihi3"), "loihi1"),
        (("digits", "--data", "."), "expected a bundle"),
        (("digits", "--chips", "0"), "--chips"),
    ],
)
def test_bad_input_ends_with_exit_code_2_in_one_line(
    tmkt: Any, arguments: tuple[str, ...], said: str
) -> None:
    done = tmkt("fit", *arguments)
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""


def test_help_shows_an_example(tmkt: Any) -> None:
    assert "Example: tmkt fit" in tmkt("fit", "--help").out


def test_placing_loads_no_torch() -> None:
    code = (
        "import sys; import tmkt.cli.fit, tmkt.deploy.fit.report; print(sorted({'torch',"
        " 'spikingjelly', 'lava'} & set(sys.modules)))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def test_the_same_command_gives_the_same_bytes(tmkt: Any, pipeline: Any) -> None:
    first, second = (
        tmkt("fit", pipeline.bundle, "--data", pipeline.data, "--limit", 3, "--json").out
        for _ in range(2)
    )
    assert first == second
