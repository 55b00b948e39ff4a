"""The commands that a report gives to make its figures again."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from example_bundles import example_parts, write_example

from tmkt.bundle import NIR
from tmkt.deploy.report.commands import commands

FLOAT = {"train": {"steps": 250}, "qat": {"bits": ""}}


@pytest.mark.parametrize(
    ("recipe", "bits", "expected"),
    [
        (
            FLOAT,
            [8, 8],
            [
                "tmkt train recipe.toml --data DATA --out run",
                "tmkt export run --target nir --out bundle",
            ],
        ),
        (
            FLOAT,
            [4, 4],
            [
                "tmkt train recipe.toml --data DATA --out run",
                "tmkt export run --target nir --bits 4 --out bundle",
            ],
        ),
        (
            {},
            [4, 8],
            [
                "tmkt train recipe.toml --data DATA --out run",
                "tmkt export run --target nir --bits 4,8 --out bundle",
            ],
        ),
        (
            {"train": {"steps": 60}, "qat": {"bits": "3,b=8", "transfer": 0.3}},
            [3, 8],
            [
                "tmkt train START --qat 3,b=8 --set train.steps=60 --data DATA --out run",
                "tmkt export run --target nir --out bundle",
            ],
        ),
        (
            {"train": {"steps": 60}, "qat": {"bits": "3", "transfer": 0.0}},
            [3, 3],
            ["tmkt export START --target nir --bits 3 --finetune 60 --out bundle"],
        ),
    ],
)
def test_a_run_is_made_again_as_it_was_made(
    recipe: dict[str, Any], bits: list[int], expected: list[str], tmp_path: Path
) -> None:
    graph, program, _ = example_parts()
    bundle = write_example(
        tmp_path / "bundle",
        (graph, program, [{"layer": "conv1", "bits": n} for n in bits]),
        files=[NIR],
    )
    bundle.manifest["origin"]["recipe"] = recipe
    assert [entry["command"] for entry in commands(bundle, None)][: len(expected)] == expected


@pytest.mark.parametrize("transfer", [0.0, 0.3])
def test_text_from_a_bundle_stays_one_word_of_a_command(transfer: float, tmp_path: Path) -> None:
    evil = "8; touch x #"
    graph, program, _ = example_parts()
    path = tmp_path / "it's $(touch x)"
    bundle = write_example(path, (graph, program, [{"layer": "conv1", "bits": evil}]), files=[NIR])
    folder = Path("my `data`")
    for line in commands(bundle, folder):
        words = shlex.split(line["command"], comments=True)
        assert words[:1] == ["tmkt"]
        assert words[2] == str(path)
        assert words[words.index("--data") + 1] == str(folder)
    bundle.manifest["origin"]["recipe"] = {
        "train": {"steps": evil},
        "qat": {"bits": evil, "transfer": transfer},
    }
    words = shlex.split(commands(bundle, folder)[0]["command"], comments=True)
    assert evil in words
    assert {evil, f"train.steps={evil}"} & set(words[4:])
    bundle.manifest["origin"]["recipe"] = FLOAT
    words = shlex.split(commands(bundle, folder)[1]["command"], comments=True)
    assert words[words.index("--bits") + 1] == evil
