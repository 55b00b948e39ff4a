import re
import tomllib
from pathlib import Path

import pytest

from tmkt.errors import InputError
from tmkt.recipe import RecipePaths, dump_recipe, load_recipe, parse_recipe, recipe_keys
from tmkt.recipe.comments import commented
from tmkt.runs import RECIPE, load_run_recipe
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
        ("nowhere.toml", [], "no such file"),
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


def _values(data: dict[str, object]) -> dict[str, object]:
    network = {"channels": [4], "strides": [2], "pools": [1]}
    return {
        "data": {"name": "ncaltech101", "bin_us": 1, **data},
        "network": network,
        "method": {"name": "tmkt"},
        "train": {"steps": 1},
    }


@pytest.mark.parametrize(
    "teacher", ['a\nb"c\\d', "\t\x7f\u20ac", "C:\\new", "\x00", "\r\n", "[x]\ny = 1"]
)
def test_any_string_of_a_recipe_survives_its_file(teacher: str) -> None:
    recipe = load_recipe("digits", RECIPES)
    values = recipe.model_dump()
    values["method"]["teacher"] = teacher
    recipe = parse_recipe(values, "test")
    assert parse_recipe(tomllib.loads(dump_recipe(recipe)), "dump") == recipe


def test_an_old_recipes_sensor_is_height_and_width(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = parse_recipe(_values({"sensor": [48, 64]}), "mine.toml")
    assert (recipe.data.width, recipe.data.height) == (64, 48)
    assert recipe.data.sensor == (48, 64)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "mine.toml: data.sensor = [48, 64] (height, width) is from before 0.2; write data.width ="
        " 64 and data.height = 48"
    ]
    assert "sensor" not in dump_recipe(recipe)


def test_an_old_run_whose_recordings_decide_needs_no_note(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert parse_recipe(_values({"sensor": []}), "run").data.sensor is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("setting", "expected"), [("data.sensor=[36, 48]", (48, 36)), ("data.sensor=[]", (0, 0))]
)
def test_an_old_setting_of_the_sensor_is_understood(
    setting: str, expected: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = load_recipe("cepdvs-kt", RECIPES, [setting])
    assert (recipe.data.width, recipe.data.height) == expected
    width, height = expected
    assert capsys.readouterr().err.splitlines() == [
        f"--set {setting}: data.sensor (height, width) is from before 0.2; write --set"
        f" data.width={width} --set data.height={height}"
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"sensor": [1]}, "mine.toml: data.sensor is [1], expected data.width and data.height"),
        ({"sensor": [4, 0]}, "data.sensor is [4, 0], expected"),
        ({"sensor": "4x4"}, "data.sensor is '4x4', expected"),
        ({"sensor": [4, 4], "width": 4}, "data.sensor beside data.width and data.height"),
        ({"width": 4}, "give both of them or neither"),
        ({"height": 4097, "width": 4}, "data.height"),
        ({"sensr": [4, 4]}, "unknown key 'data.sensr'"),
    ],
)
def test_a_wrong_size_is_refused(data: dict[str, object], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_recipe(_values(data), "mine.toml")
    assert expected in str(caught.value)


def test_old_files_of_recipes_and_runs_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (RECIPES / "cepdvs-kt.toml").read_text()
    new = "width = 48\nheight = 48\n"
    assert new in text
    (tmp_path / RECIPE).write_text(text.replace(new, "sensor = [48, 48]\n"))
    expected = load_recipe("cepdvs-kt", RECIPES)
    assert load_run_recipe(tmp_path) == expected
    assert load_recipe(str(tmp_path / RECIPE), RECIPES) == expected
    notes = capsys.readouterr().err.splitlines()
    assert len(notes) == 2
    assert all("write data.width = 48 and data.height = 48" in note for note in notes)
    assert str(tmp_path / RECIPE) in notes[0]


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_with_comments_decides_the_same_training(
    name: str, every: bool, tmp_path: Path
) -> None:
    recipe = load_recipe(name, RECIPES)
    text = commented(recipe, (RECIPES / f"{name}.toml").read_text(encoding="utf-8"), every=every)
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    assert load_recipe(str(tmp_path / "mine.toml"), RECIPES) == recipe
    assert max(map(len, text.splitlines())) <= 80
    assert commented(recipe, text, every=every) == text


def test_a_shown_recipe_has_what_differs_from_the_defaults_and_its_own_comments() -> None:
    own = (RECIPES / "digits.toml").read_text(encoding="utf-8")
    shown = commented(load_recipe("digits", RECIPES), own)
    assert "\npools = [2, 2, 1]  # 34 -> 17 -> 8 -> 4 -> 4\n" in shown
    assert "\nshots = 10\n" in shown
    assert "recorded instances a class" in shown  # the schema's, where the recipe has none
    assert "mix_ratio" not in shown
    assert "learning_rate" not in shown


def test_every_key_that_is_a_choice_or_a_number_of_its_own_unit_has_a_comment() -> None:
    shown = commented(load_recipe("digits", RECIPES), every=True).splitlines()
    keys = [i for i, line in enumerate(shown) if re.match(r"\w+ = ", line)]
    bare = {
        shown[i].split(" = ")[0] for i in keys if "  # " not in shown[i] and shown[i - 1][:1] != "#"
    }
    assert len(keys) == len(recipe_keys())
    assert bare <= {"channels", "distillation_temperature", "distillation_steepness"}


def test_a_number_sign_in_a_text_is_no_comment_and_folders_are_kept() -> None:
    text = '[method]\nteacher = "a#b.safetensors"  # ours\n'
    values = load_recipe("ncaltech101-ckd", RECIPES, ["method.teacher='a#b.safetensors'"])
    paths = RecipePaths(data=Path("my recordings"))
    shown = commented(values, text, paths)
    assert 'teacher = "a#b.safetensors"  # ours' in shown
    assert shown.endswith('[paths]\ndata = "my recordings"\n')
