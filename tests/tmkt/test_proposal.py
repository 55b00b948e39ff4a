"""Decisions of a proposed recipe, and what it says about recordings and images."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_datasets import write_colour
from example_sessions import bar, write_npz, write_session
from hypothesis import given, settings
from hypothesis import strategies as st

from tmkt.datasets.protocols import split_recordings
from tmkt.datasets.registry import dataset
from tmkt.events.sites import choose_factor
from tmkt.events.types import Events
from tmkt.networks import SpikingNetwork
from tmkt.proposal.choices import (
    CAMERAS,
    INPUT_SIDE,
    MOST_BINS,
    WIDTHS,
    choose_bins,
    choose_camera,
    choose_input,
    choose_shape,
    choose_share,
    choose_steps,
    choose_width,
)
from tmkt.proposal.covered import describe_covered
from tmkt.proposal.defects import find_defects
from tmkt.proposal.method import Backbone, Material, choose_method
from tmkt.proposal.proposal import Key, choose, keys_of, network_keys, steps_keys, values_of
from tmkt.proposal.report import report
from tmkt.proposal.survey import hot_pixels, survey_images, survey_recordings
from tmkt.proposal.text import path_keys, recipe_text, relative
from tmkt.recipe import NetworkRecipe, load_paths, parse_recipe

FLAT = np.ones((480, 640), np.int64)


def fits_all(network: dict[str, Any], size: tuple[int, int], classes: int) -> int:  # noqa: ARG001
    return 7


@pytest.mark.parametrize(
    ("said", "reached", "size", "guessed"),
    [
        ([(480, 640)] * 3, (470, 600), (480, 640), False),
        ([], (127, 128), (128, 128), True),
        ([], (478, 640), (480, 640), True),
        ([], (33, 35), (33, 35), True),
        ([], (129, 128), (129, 128), True),
    ],
)
def test_the_camera_is_what_files_say_or_a_known_one_that_events_fill(
    said: list[tuple[int, int]], reached: tuple[int, int], size: tuple[int, int], guessed: bool
) -> None:
    camera = choose_camera(said, reached)
    assert (camera.size, camera.guessed) == (size, guessed)


@pytest.mark.parametrize(
    ("camera", "size", "factor"),
    [((34, 34), (34, 34), 1), ((36, 36), (36, 36), 1), ((128, 128), (32, 32), 4)],
)
def test_square_cameras_are_divided_by_one_integer(
    camera: tuple[int, int], size: tuple[int, int], factor: int
) -> None:
    found = choose_input(camera, FLAT[: camera[0], : camera[1]])
    assert (found.size, found.factor, found.cropped) == (size, factor, False)


def test_a_wide_camera_is_cropped_only_if_nearly_all_events_are_in_the_middle() -> None:
    whole = choose_input((480, 640), FLAT)
    assert (whole.size, whole.factor, whole.cropped) == ((26, 35), 18, False)
    assert 0 < whole.lost < 0.05  # 480 = 26 x 18 + 12, 640 = 35 x 18 + 10
    middle = np.zeros_like(FLAT)
    middle[200:300, 200:400] = 1
    cropped = choose_input((480, 640), middle)
    assert (cropped.size, cropped.factor, cropped.cropped) == ((34, 34), 14, True)
    assert cropped.lost == 0.0


@settings(deadline=None)
@given(st.sampled_from([*CAMERAS, (33, 35), (5, 3), (1, 1), (2000, 17)]))
def test_every_camera_gives_an_input_that_a_network_takes(camera: tuple[int, int]) -> None:
    found = choose_input(camera, np.zeros((0, 0), np.int64))
    assert max(found.size) <= INPUT_SIDE
    if not found.cropped:  # the recipe says one integer, and the rule of sites finds the same
        assert found.factor == choose_factor(camera, found.size)
    shape = choose_shape(found.size)
    network = NetworkRecipe(**network_keys(WIDTHS[-1], shape))
    SpikingNetwork(network, (2, *found.size), 3)  # refuses maps that shrink to nothing


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**8), min_size=1, max_size=50))
def test_bins_cover_all_recordings_but_outliers(durations: list[int]) -> None:
    binning = choose_bins(durations)
    assert 10 <= binning.bins <= MOST_BINS
    assert binning.left_out == sum(d >= binning.span_us for d in durations)
    assert binning.left_out <= 0.05 * len(durations)


def test_one_recording_much_longer_than_the_others_does_not_cost_them_their_resolution() -> None:
    assert choose_bins([30_000] * 40).span_us == 30_100
    binning = choose_bins([30_000] * 40 + [900_000])
    assert (binning.bins, binning.span_us, binning.left_out) == (10, 30_100, 1)
    assert choose_bins([1_450_000] * 3).bins == MOST_BINS


def test_the_widest_network_that_fits_the_chip_is_taken() -> None:
    assert choose_width(lambda _: 9).channels == WIDTHS[0]
    narrow = choose_width(lambda channels: 3 if channels[0] < 10 else None)
    assert (narrow.channels, narrow.cores) == (WIDTHS[2], 3)
    assert choose_width(lambda _: None).cores is None


@pytest.mark.parametrize(
    ("minutes", "seconds", "steps"),
    [(5, 0.1, 2500), (1, 0.37, 120), (1, 0.001, 3000), (0.01, 3, 20), (2, 0.2, 500)],
)
def test_steps_are_a_round_number_within_the_budget(
    minutes: float, seconds: float, steps: int
) -> None:
    assert choose_steps(minutes, seconds) == steps


def test_images_help_where_there_are_some_of_every_class_and_recordings_are_few() -> None:
    few = Material(fewest=5, one_session=False, classes=4, imaged=4, images=40)
    assert choose_method(few, 300_000, 34).name == "mix"
    camera = choose_method(few, 30_000, 34).static
    assert (camera["saccade_us"], camera["refractory_us"]) == (10_000, 200)
    many = Material(fewest=200, one_session=False, classes=4, imaged=4, images=40)
    some = Material(fewest=5, one_session=False, classes=4, imaged=3, images=40)
    none = Material(fewest=5, one_session=False, classes=4)
    for seen, why in ((many, "200 recordings"), (some, "3 of 4 classes"), (none, "no images")):
        method = choose_method(seen, 300_000, 34)
        assert not method.uses_images
        assert why in method.why


def test_a_backbone_takes_images_of_some_classes_where_recordings_are_fewest() -> None:
    backbone = Backbone("m", NetworkRecipe(channels=[3], strides=[1], pools=[1]), 7)
    for fewest, imaged, strange, used in (
        (5, 3, False, True),
        (6, 3, False, False),
        (5, 0, False, False),
        (5, 3, True, False),
        (6, 4, False, True),
    ):
        seen = Material(fewest, False, classes=4, imaged=imaged, images=40, strange=strange)
        method = choose_method(seen, 300_000, 34, backbone)
        assert (method.name, method.uses_images) == ("adapt", used)
        assert ("encoding" in method.static) == used
    assert (
        "3 of 4 classes join in"
        in choose_method(
            Material(5, False, classes=4, imaged=3, images=40), 300_000, 34, backbone
        ).why
    )


def test_few_recordings_start_from_a_backbone_that_fits(tmp_path: Path) -> None:
    small, large = (NetworkRecipe(channels=[n], strides=[1], pools=[1]) for n in (3, 5))
    values = values_of(keys(folder(tmp_path), [("small", small), ("large", large)]))
    assert values["method"] == {"name": "adapt"}
    assert (values["train"]["init"], values["train"]["head_share"]) == ("small", 0.333)
    assert values["train"]["steps"] == 600
    assert "network" not in values
    seen = survey_recordings(tmp_path / "events")
    only_large = choose(
        seen,
        None,
        None,
        lambda network, size, classes: 9 if network["channels"] != [3] else None,  # noqa: ARG005
        [("small", small), ("large", large)],
    )
    assert only_large.method.backbone is not None
    assert only_large.method.backbone.name == "large"
    assert Material(1, one_session=False, classes=2).amount == "1 recording of the smallest class"
    assert report(seen, None, None, only_large, [], [])["cores"] == 9


def test_a_budget_that_allows_too_few_steps_says_which_one_would_do(tmp_path: Path) -> None:
    seen = survey_recordings(folder(tmp_path))
    chosen = choose(seen, None, None, fits_all)
    (steps,) = steps_keys(chosen, 1, 2.0)
    assert steps.value == 25
    assert "--minutes 8 would give the 200" in steps.why
    (enough,) = steps_keys(chosen, 8, 2.0)
    assert enough.value == 200
    assert "few" not in enough.why
    (unknown,) = steps_keys(chosen, 8, None)
    assert "not measured" in unknown.why


def test_many_recordings_do_not_start_from_a_backbone_but_slices_of_one_do() -> None:
    backbone = Backbone("s", NetworkRecipe(channels=[3], strides=[1], pools=[1]), 9)
    many = Material(fewest=200, one_session=False, classes=4)
    slices = Material(fewest=200, one_session=True, classes=4, imaged=4, images=9)
    assert choose_method(many, 300_000, 34, backbone).name == "target-only"
    chosen = choose_method(slices, 100_000, 34, backbone)
    assert (chosen.name, chosen.uses_images) == ("adapt", True)
    assert (chosen.static["saccade_us"], chosen.static["speed_px_s"]) == (33_000, 100.0)


def test_a_hot_pixel_stands_alone_and_an_edge_does_not() -> None:
    counts = np.ones((20, 20), np.int64)
    counts[:, 7] = 400
    assert hot_pixels(counts) == []
    counts[3, 15] = 2000
    assert hot_pixels(counts) == [(15, 3)]


def folder(root: Path) -> Path:
    """Three classes of four recordings, without a fault."""
    return write_session(root / "events", ["left", "mid", "right"], 4, 0)


def defects(data: Path, test: Path | None = None, images: Path | None = None) -> dict[str, Any]:
    found = find_defects(
        survey_recordings(data),
        survey_recordings(test) if test else None,
        survey_images(images) if images else None,
        uses_images=False,
    )
    return {defect.found: defect for defect in found}


def test_sound_recordings_have_no_defects(tmp_path: Path) -> None:
    data = folder(tmp_path)
    for name in ("left", "mid", "right"):
        write_colour(tmp_path / "images" / name / "1.png", (9, 9), 0)
    assert defects(data, None, tmp_path / "images") == {}
    found = survey_recordings(data)
    assert found.classes == ("left", "mid", "right")
    assert {r.sensor for r in found.recordings} == {(12, 16)}
    assert found.pixels.sum() == 12 * 800


def test_a_damaged_file_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    data = folder(tmp_path)
    (data / "mid" / "0.npz").write_bytes(b"PK")
    found = survey_recordings(data)
    assert (len(found.recordings), len(found.unreadable)) == (11, 1)
    (first,) = defects(data)
    assert "1 recordings cannot be read" in first
    assert "0.npz" in first


def long_pause(seed: int) -> Events:
    events = bar(3, seed)
    t = events.t.copy()
    t[len(t) // 2 :] += 200_000
    return Events(t, events.x, events.y, events.p, events.sensor)


@pytest.mark.parametrize(
    ("fault", "said", "refused"),
    [
        ("empty", "no recordings in none", False),
        ("lone", "one recording in left", True),
        ("lone session", "one session in left", True),
        ("sensors", "recordings of several cameras", True),
        ("slices", "perhaps slices of one recording", False),
        ("pause", "pause for more than half", False),
        ("polarity", "all events are on events", False),
        ("twice", "the same file under two names", False),
        ("swapped", "are taken for classes", False),
        ("images lacking", "no images of mid, right", False),
        ("images beside", "images of up", False),
        ("test lacking", "lacks mid, right", False),
        ("test beside", "which nothing is trained on", True),
    ],
)
def test_every_defect_is_found_and_training_refuses_those_that_say_so(
    tmp_path: Path, fault: str, said: str, refused: bool
) -> None:
    data, test, images = folder(tmp_path), None, None
    if fault == "empty":
        (data / "none").mkdir()
    elif fault in ("lone", "lone session"):
        for i in (1, 2, 3):
            (data / "left" / f"{i}.npz").unlink()
        if fault == "lone session":
            (data / "left" / "monday").mkdir()
            (data / "left" / "0.npz").rename(data / "left" / "monday" / "0.npz")
    elif fault == "sensors":
        events = bar(3, 0)
        write_npz(Events(events.t, events.x, events.y, events.p, (24, 32)), data / "left" / "9.npz")
    elif fault == "slices":
        for i in range(20):
            write_npz(bar(3, i), data / "left" / f"{i}.npz")
    elif fault == "pause":
        write_npz(long_pause(0), data / "left" / "0.npz")
    elif fault == "polarity":
        for path in data.glob("*/*.npz"):
            events = bar(3, 0)
            p = np.ones_like(events.p)
            write_npz(Events(events.t, events.x, events.y, p, events.sensor), path)
    elif fault == "twice":
        (data / "left" / "8.npz").write_bytes((data / "left" / "0.npz").read_bytes())
    elif fault == "swapped":
        data = tmp_path / "swapped"
        for session in ("s0", "s1"):
            write_session(data / session, ["left", "mid", "right"], 1, 0)
    elif fault.startswith("images"):
        images = tmp_path / "images"
        names = {"images lacking": ["left"], "images beside": ["left", "mid", "right", "up"]}[fault]
        for name in names:
            write_colour(images / name / "1.png", (9, 9), 0)
    else:
        names = ["left"] if fault == "test lacking" else ["left", "up"]
        test = write_session(tmp_path / "test", names, 2, 5)
    found = defects(data, test, images)
    (defect,) = [defect for text, defect in found.items() if said in text]
    assert defect.refused == refused
    if fault in ("lone", "lone session"):
        recipe = parse_recipe(proposed(data), "test")
        source = dataset("folders")
        with pytest.raises(Exception, match="recorded instance"):
            split_recordings(source, source.find_recordings(data), recipe.data, 0)


def proposed(data: Path) -> dict[str, Any]:
    return values_of(keys(data))


def keys(data: Path, backbones: Sequence[tuple[str, NetworkRecipe]] = ()) -> list[Key]:
    """Propose for a folder, at half a second a step and five minutes."""
    seen = survey_recordings(data)
    chosen = choose(seen, None, None, fits_all, backbones)
    covered = describe_covered(seen.recordings, chosen)
    return [*keys_of(chosen, seen, "loihi2", 120, covered), *steps_keys(chosen, 5, 0.5)]


def test_the_text_is_a_recipe_with_a_reason_above_every_choice(tmp_path: Path) -> None:
    data = folder(tmp_path)
    out = tmp_path / "here" / "mine.toml"
    proposal = [*keys(data), *path_keys(out, data, None, None)]
    text = recipe_text("For a test", proposal)
    out.parent.mkdir()
    out.write_text(text)
    assert load_paths(str(out), tmp_path).data == out.parent / ".." / "events"
    values = tomllib.loads(text)
    values.pop("paths")
    recipe = parse_recipe(values, "test")
    assert (recipe.data.bins, recipe.data.bin_us) == (10, 5010)
    assert (recipe.train.steps, recipe.method.name) == (500, "target-only")
    assert recipe.data.train_share == choose_share(4) == 0.7
    assert "7 of the 120 cores of one loihi2 chip" in " ".join(text.replace("\n#", "").split())
    assert max(map(len, text.splitlines())) <= 100
    assert text == recipe_text("For a test", proposal)


def test_paths_are_those_that_were_typed_though_links_lead_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cameras = tmp_path / "far" / "away" / "cameras"
    (cameras / "cups").mkdir(parents=True)
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / "data").symlink_to(cameras)
    (here / "elsewhere").symlink_to(cameras)
    monkeypatch.chdir(here)
    typed = Path("../data/cups")
    assert relative(typed, Path("mine.toml")) == "../data/cups"
    assert relative(tmp_path / "data" / "cups", Path("mine.toml")) == "../data/cups"
    (here / "recipes").mkdir()
    assert relative(typed, Path("recipes/mine.toml")) == "../../data/cups"
    # ".." of a folder behind a link is not the folder that holds the link
    recipe = Path("elsewhere/mine.toml")
    assert relative(typed, recipe) == "cups"


def test_what_the_bins_leave_out_is_said(tmp_path: Path) -> None:
    data = folder(tmp_path)
    for i in range(40):
        write_npz(bar(3, 50 + i), data / "mid" / f"more-{i}.npz")
    write_npz(long_pause(9), data / "left" / "long.npz")
    (bins,) = [key for key in keys(data) if key.name == "bins"]
    assert "1 of 53 are longer than the bins, which leave out up to" in bins.why
    assert "50." in bins.why  # per cent of the events: those behind the pause


def test_names_of_classes_do_not_break_the_text(tmp_path: Path) -> None:
    for name in ('a"b', "c\\d", "e\x1b[1mf", "g # h"):
        for i in range(2):
            write_npz(bar(3, i), tmp_path / name / f"{i}.npz")
    proposal = [*keys(tmp_path), *path_keys(tmp_path / "r.toml", tmp_path / 'a"b', None, None)]
    text = recipe_text("For a test", proposal)
    assert "\x1b" not in text
    assert tomllib.loads(text)["paths"]["data"] == 'a"b'


def test_a_camera_that_no_file_tells_of_is_written_into_the_recipe(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for i in range(2):
            write_npz(bar(8, i), tmp_path / name / f"{i}.npz", with_size=False)
    seen = survey_recordings(tmp_path)
    chosen = choose(seen, None, None, fits_all)
    assert chosen.camera.guessed
    values = proposed(tmp_path)
    assert (values["data"]["camera_width"], values["data"]["camera_height"]) == (10, 12)
