from xml.etree import ElementTree

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tmkt.errors import InputError
from tmkt.recipe import load_recipe
from tmkt.train import RECIPES
from tmkt.train.tune.plot import Axis, Dot, picture
from tmkt.train.tune.space import default_searches, parse_search, setting


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train.learning_rate=1e-4..1e-2", FloatDistribution(1e-4, 1e-2, log=True)),
        ("method.mix_ratio=0.1..0.9", FloatDistribution(0.1, 0.9)),
        ("method.alignment = 0..5", FloatDistribution(0.0, 5.0)),
        ("method.alignment=.5...9", FloatDistribution(0.5, 0.9)),
        ("static.refractory_us=100..5000", IntDistribution(100, 5000, log=True)),
        ("train.batch=16..64", IntDistribution(16, 64)),
        ("network.surrogate=atan|triangle", CategoricalDistribution(["atan", "triangle"])),
        ("network.channels=[8, 16]|[16, 32]", CategoricalDistribution(["[8, 16]", "[16, 32]"])),
        ("train.recompute=true|false", CategoricalDistribution(["true", "false"])),
    ],
)
def test_a_search_says_range_scale_and_type(text: str, expected: object) -> None:
    key, found = parse_search(text)
    assert key == text.partition("=")[0].strip()
    assert found == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("method.mixratio=0..1", "unknown key 'method.mixratio'; did you mean 'method.mix_ratio'?"),
        ("mix_ratio=0..1", "unknown key 'mix_ratio'"),
        ("method.mix_ratio", "expected section.key=low..high"),
        ("method.mix_ratio=0.5", "one value, expected low..high"),
        ("method.mix_ratio=a..b", "'a', expected a number"),
        ("train.batch=1.5..3", "'1.5', expected a whole number"),
        (f"train.batch=1..{'9' * 400}", "expected a whole number"),
        (f"train.batch=1..{'9' * 5000}", "expected a whole number"),
        ("method.mix_ratio=0.9..0.1", "expected low below high"),
        ("method.mix_ratio=0..inf", "expected a number"),
        ("method.name=kt..tmkt", "is no number, expected choices"),
        ("method.name=kt|kt", "repeated choice"),
        ("data.shots=1..5", "decides which recordings"),
        ("train.seed=0..5", "decides which recordings"),
    ],
)
def test_a_search_that_is_none_is_named(text: str, expected: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_search(text)
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_has_something_to_search_that_it_can_take(path: object) -> None:
    recipe = load_recipe(str(path), RECIPES)
    searches = default_searches(recipe)
    assert any(text.startswith("train.learning_rate=") for text in searches)
    for text in searches:
        key, distribution = parse_search(text)
        assert isinstance(distribution, FloatDistribution)
        for value in (distribution.low, distribution.high):
            load_recipe(str(path), RECIPES, [f"{key}={value!r}"])


def test_what_a_recipe_has_switched_off_stays_off() -> None:
    off = ["method.mix_ratio=0.0", "method.modality_guidance=0.0", "method.ratio_perception=0.0"]
    searches = default_searches(load_recipe("nmnist-fewshot", RECIPES, off))
    assert [text.partition("=")[0] for text in searches] == [
        "method.alignment",
        "train.learning_rate",
    ]


def test_values_are_rounded_inside_their_range() -> None:
    narrow = FloatDistribution(0.123456, 0.123459)
    assert setting(0.1234567, narrow) == "0.123459"
    assert setting(0.00123456, FloatDistribution(1e-4, 1.0, log=True)) == "0.001235"
    assert setting(7, IntDistribution(1, 9)) == "7"


def test_the_picture_has_a_mark_for_each_trial_in_each_panel() -> None:
    dots = [Dot(1, 0.5, True, False), Dot(2, 0.25, False, False), Dot(4, 0.75, True, True)]
    axes = [
        Axis("method.<x>", [1.0, 10.0, 100.0], 1.0, 100.0, True, []),
        Axis("b", [0.0, 1.0, 0.0], -0.5, 1.5, False, ["one", "two"]),
    ]
    root = ElementTree.fromstring(picture("of a & b", dots, axes, 20))
    svg = "{http://www.w3.org/2000/svg}"
    said = [title.text for title in root.iter(f"{svg}title")]
    assert sorted(said) == sorted(
        ["trial 1: 50.0 %", "trial 2: 25.0 %, pruned", "trial 4: 75.0 %"] * 3
    )
    marks = [float(mark.attrib["cx"]) for mark in root.iter(f"{svg}circle") if len(mark)]
    assert len(marks) == 2 * 3
    assert all(0.0 <= x <= 300.0 for x in marks)
