import tomllib

import pytest

from tmkt.errors import InputError
from tmkt.recipe import dump_recipe, load_recipe, parse_recipe
from tmkt.train import RECIPES

NAMES = sorted(p.stem for p in RECIPES.glob("*.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_loads_and_its_dump_is_the_same_recipe(name: str) -> None:
    recipe = load_recipe(name, RECIPES)
    assert parse_recipe(tomllib.loads(dump_recipe(recipe)), "dump") == recipe


def test_a_setting_on_the_command_line_wins() -> None:
    recipe = load_recipe(
        "nmnist-fewshot",
        RECIPES,
        ["train.steps=7", "method.name=target-only", "network.channels=[4, 8, 8, 8]"],
    )
    assert (recipe.train.steps, recipe.method.name, recipe.network.channels) == (
        7,
        "target-only",
        [4, 8, 8, 8],
    )


@pytest.mark.parametrize(
    ("name", "overrides", "expected"),
    [
        ("nmnist-fewshoot", [], "did you mean 'nmnist-fewshot'"),
        ("nowhere.toml", [], "not found"),
        ("nmnist-fewshot", ["train.learning_rat=1"], "did you mean 'train.learning_rate'"),
        ("nmnist-fewshot", ["train.steps"], "expected section.key=value"),
        ("nmnist-fewshot", ["train.steps=many"], "train.steps"),
        ("nmnist-fewshot", ["train.steps=0"], "train.steps"),
        ("nmnist-fewshot", ["method.name=tmk"], "method.name"),
        ("nmnist-fewshot", ["network.pools=[1]"], "channels, strides and pools"),
        ("nmnist-fewshot", ["data.max_count=256"], "data.max_count"),
        ("nmnist-fewshot", ["train.learning_rate=inf"], "train.learning_rate"),
        ("nmnist-fewshot", ["train.learning_rate=true"], "train.learning_rate"),
        ("nmnist-fewshot", ['train.steps="3"'], "train.steps"),
        ("nmnist-fewshot", ["train.seed=99999999999999999999999"], "train.seed"),
        ("nmnist-fewshot", ["data.bin_us=99999999999999999999999"], "data.bin_us"),
        ("nmnist-fewshot", ["network.channels=[1000000]"], "network.channels"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(
    name: str, overrides: list[str], expected: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_recipe(name, RECIPES, overrides)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_keys_in_a_file_name_the_nearest_known_one() -> None:
    values = load_recipe("nmnist-fewshot", RECIPES).model_dump()
    values["train"]["stepps"] = 3
    with pytest.raises(InputError, match=r"unknown key 'train.stepps'; did you mean 'train.steps'"):
        parse_recipe(values, "mine.toml")
