"""Recipes of tiny trainings on digits that start from a trained network or make one."""

from pathlib import Path
from typing import Any

from tmkt.recipe import Recipe, parse_recipe

NETWORK = {"channels": [4, 8], "strides": [2, 1], "pools": [2, 2], "surrogate": "triangle"}
TINY: dict[str, dict[str, Any]] = {
    "data": {"name": "digits", "shots": 1, "bins": 4, "bin_us": 79000},
    "method": {"name": "target-only"},
    "train": {"steps": 2, "batch": 10, "warmup_steps": 0, "threads": 1},
}


def tiny_recipe(init: Path | str = "", **changes: dict[str, Any]) -> Recipe:
    """Make a recipe with some keys changed; `network` is a section of it only where given."""
    values = {section: {**TINY[section], **changes.get(section, {})} for section in TINY}
    values["train"] = {"init": str(init), **values["train"]}
    values |= {key: changes[key] for key in changes.keys() - values.keys()}
    if "network" in changes:
        values["network"] = {**NETWORK, **changes["network"]}
    return parse_recipe(values, "test")
