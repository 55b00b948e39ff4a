import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmkt.datasets.protocols import by_share, check_paired, split_recordings
from tmkt.datasets.registry import dataset
from tmkt.datasets.splits import choose, draw, few_shot, from_ranges, to_ranges, without_instances
from tmkt.datasets.types import Dataset, Recording, StaticImages
from tmkt.errors import InputError
from tmkt.recipe import DataRecipe


def recordings(per_class: int, classes: int = 3) -> list[Recording]:
    return [
        Recording(Path(f"{c}/{i}.bin"), c, f"thing-{c * per_class + i}")
        for c in range(classes)
        for i in range(per_class)
    ]


def names(chosen: list[Recording]) -> set[str]:
    return {r.instance for r in chosen}


def test_a_real_few_shot_split_shares_no_instance_between_training_images_and_test(
    shared_data: Path,
) -> None:
    nmnist = dataset("nmnist")
    found = nmnist.find_recordings(shared_data / "nmnist")
    train, test = few_shot(found, 5, 0)
    assert np.bincount([r.label for r in train]).tolist() == [5] * 10
    assert len(train) + len(test) == 500
    assert not names(train) & names(test)
    images = without_instances(nmnist.load_images(shared_data / "mnist"), names(test))
    assert not set(images.instances) & names(test)
    assert len(images) == 60000 - sum(r.instance.startswith("mnist-train-") for r in test)
    # the images that remain still carry their own labels
    assert all(
        images.labels[images.instances.index(r.instance)] == r.label
        for r in train
        if r.instance.startswith("mnist-train-")
    )


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_files() -> None:
    found = recordings(30)
    shuffled = random.Random(0).sample(found, len(found))
    assert few_shot(found, 4, 1) == few_shot(shuffled, 4, 1)
    assert few_shot(found, 4, 1) != few_shot(found, 4, 2)


def test_two_recordings_of_one_instance_stay_on_one_side() -> None:
    found = recordings(6)
    found += [Recording(Path("again") / r.path, r.label, r.instance) for r in found]
    for seed in range(20):
        train, test = few_shot(found, 3, seed)
        assert not names(train) & names(test)
        assert len(names(train)) == 9
        assert len(train) == len(test) == 18


def test_a_class_with_nothing_left_to_test_is_refused() -> None:
    found = [*recordings(6), Recording(Path("a"), 3, "thing-a"), Recording(Path("b"), 3, "thing-b")]
    few_shot(found, 1, 0)
    with pytest.raises(
        InputError,
        match=r"class 3( \(.*\))?: 2 recorded instances, expected more than the 2 to train on",
    ):
        few_shot(found, 2, 0)


def test_a_split_by_what_was_trained_on_is_that_of_the_training() -> None:
    found = recordings(10)
    train, test = few_shot(found, 2, 0)
    random.Random(0).shuffle(found)
    assert choose(found, "test", names(train)) == test
    assert choose(found, "train", names(train)) == train
    assert sorted(names(choose(found, "all", names(train)))) == sorted(names(found))


def test_a_recording_whose_image_was_trained_on_is_not_tested() -> None:
    found = recordings(10)
    assert names(choose(found, "test", ["thing-0"], {"thing-1", "thing-2"})) == names(found) - {
        "thing-0",
        "thing-1",
        "thing-2",
    }
    assert names(choose(found, "train", ["thing-0"], {"thing-1", "thing-2"})) == {"thing-0"}
    with pytest.raises(InputError, match="as recordings or as images"):
        choose(found, "test", [], {r.instance for r in found})


def test_instances_come_back_from_their_ranges() -> None:
    instances = {"mnist-train-0", "mnist-train-1", "mnist-train-2", "mnist-train-9", "digits-7"}
    ranges = to_ranges(instances)
    assert ranges == {"digits": [[7, 7]], "mnist-train": [[0, 2], [9, 9]]}
    assert from_ranges(ranges) == instances


def test_an_unknown_or_empty_split_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'test'"):
        choose(recordings(2), "tset", ())
    with pytest.raises(InputError, match="all 6 recordings were not trained on"):
        choose(recordings(2), "train", ())


def test_a_limit_draws_the_same_recordings_from_all_classes_whatever_the_order() -> None:
    found = recordings(40)
    drawn = draw(random.Random(0).sample(found, len(found)), 30)
    assert drawn == draw(found, 30)
    assert len(names(drawn)) == 30
    assert {r.label for r in drawn} == {0, 1, 2}
    assert draw(found, None) == draw(found, 120) == draw(found, 1000)
    assert names(draw(found, None)) == names(found)


def test_images_that_all_show_something_tested_are_refused() -> None:
    images = StaticImages(np.zeros((2, 8, 8), np.uint8), np.array([0, 1]), ("a", "b"))
    assert without_instances(images, {"a", "c"}).instances == ("b",)
    with pytest.raises(InputError, match="all 2 show something that is tested"):
        without_instances(images, {"a", "b"})


@settings(max_examples=60, deadline=None)
@given(st.sets(st.text("ab-/0123456789", min_size=1, max_size=5), max_size=12))
def test_any_names_come_back_from_their_ranges(instances: set[str]) -> None:
    assert from_ranges(to_ranges(instances)) == instances


def recipe(**values: object) -> DataRecipe:
    return DataRecipe.model_validate({"name": "nmnist", "bin_us": 1000, **values})


def people(users: int, classes: int = 3) -> list[Recording]:
    """Every person shows every class twice."""
    return [
        Recording(Path(f"user{u}/{c}-{i}"), c, f"person-{u}")
        for u in range(1, users + 1)
        for c in range(classes)
        for i in range(2)
    ]


@pytest.mark.parametrize(
    "values",
    [
        {"shots": 2},
        {"train_share": 0.7},
        {"shots": 2, "validation": 1},
        {"validation": 0.2},
        {"shots": 1, "validation": 0.3},
    ],
)
@pytest.mark.parametrize("found", [recordings(10), people(10)])
def test_no_thing_is_in_two_parts_of_a_split(
    found: list[Recording], values: dict[str, float]
) -> None:
    for seed in range(5):
        split = split_recordings(
            dataset("nmnist"), random.Random(seed).sample(found, len(found)), recipe(**values), seed
        )
        parts = [names(split.train), names(split.validation), names(split.test)]
        assert set().union(*parts) == names(found)
        assert sum(map(len, parts)) == len(names(found))
        assert bool(split.validation) == ("validation" in values)
        assert {r.label for r in split.train} == {r.label for r in split.test} == {0, 1, 2}
        images = StaticImages(
            np.zeros((len(found), 2, 2), np.uint8),
            np.array([r.label for r in found]),
            tuple(r.instance for r in found),
        )
        assert set(split.choose_images(images).instances) == parts[0]


def test_a_validation_part_leaves_the_shots_as_they_were() -> None:
    found = recordings(20)
    plain = split_recordings(dataset("nmnist"), found, recipe(shots=3), 7)
    split = split_recordings(dataset("nmnist"), found, recipe(shots=3, validation=4), 7)
    assert split.train == plain.train == few_shot(found, 3, 7)[0]
    assert np.bincount([r.label for r in split.validation]).tolist() == [4] * 3
    assert np.bincount([r.label for r in split.test]).tolist() == [13] * 3


def test_a_share_of_every_class_is_trained_on_and_never_all() -> None:
    found = [*recordings(10, 2), *(Recording(Path(f"few/{i}"), 2, f"few-{i}") for i in range(2))]
    train, test = by_share(found, 0.9, 0)
    assert np.bincount([r.label for r in train]).tolist() == [9, 9, 1]
    assert np.bincount([r.label for r in test]).tolist() == [1, 1, 1]
    with pytest.raises(
        InputError, match=r"class 0 \(.*\): 1 recorded instance, expected at least 2"
    ):
        by_share(found[:1], 0.9, 0)


def test_too_few_to_validate_is_refused() -> None:
    with pytest.raises(
        InputError,
        match=r"class 0 \(0\): 8 instances to take 9 for validation from.*lower data\.validation",
    ):
        split_recordings(dataset("nmnist"), recordings(10), recipe(shots=2, validation=9), 0)


def numbered(prefixes: dict[str, int], n: int) -> list[Recording]:
    return [
        Recording(Path(f"{prefix}/{i}"), label, f"{prefix}-{i}")
        for prefix, label in prefixes.items()
        for i in range(1, n + 1)
    ]


def paper(source: Dataset, found: list[Recording], **values: object) -> dict[str, set[str]]:
    split = split_recordings(source, found, recipe(protocol="paper", **values), 0)
    images = StaticImages(
        np.zeros((len(found), 2, 2), np.uint8),
        np.zeros(len(found), np.int64),
        tuple(r.instance for r in found),
    )
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    return {key: names(part) for key, part in parts.items()} | {
        "images": set(split.choose_images(images).instances)
    }


def test_ncaltechs_published_split_shows_the_first_tested_image_of_each_class() -> None:
    found = numbered({"caltech101-ant": 8, "caltech101-bass": 10}, 31)
    parts = paper(dataset("ncaltech101"), random.Random(0).sample(found, len(found)))
    assert parts["train"] == {
        f"caltech101-{c}-{i}" for c in ("ant", "bass") for i in range(1, 29)
    }  # round(0.9 * 31) = 28
    assert parts["test"] == names(found) - parts["train"]
    assert parts["images"] & parts["test"] == {"caltech101-ant-29", "caltech101-bass-29"}


def test_the_other_published_splits() -> None:
    cep = paper(dataset("cepdvs"), numbered({"cepdvs": 0}, 500))
    assert (len(cep["train"]), len(cep["test"]), cep["images"]) == (250, 100, cep["train"])
    assert "cepdvs-251" in cep["test"]
    assert "cepdvs-351" not in cep["test"]
    omniglot = paper(dataset("nomniglot"), numbered({"omniglot-0001": 0, "omniglot-0002": 1}, 20))
    assert omniglot["test"] == {f"omniglot-000{c}-{i}" for c in (1, 2) for i in range(16, 21)}
    assert omniglot["images"] == omniglot["train"]
    users = [
        Recording(Path(f"{u}"), c, f"dvsgesture-user-{u}") for u in range(1, 30) for c in range(11)
    ]
    split = split_recordings(dataset("dvsgesture"), users, recipe(protocol="paper"), 0)
    assert (len(names(split.train)), len(names(split.test))) == (23, 6)
    cifar = paper(dataset("cifar10dvs"), numbered({"cifar10dvs-cat": 3}, 10))
    assert (len(cifar["train"]), len(cifar["test"]), len(cifar["images"])) == (9, 1, 10)


def test_images_of_validating_things_are_left_out_of_a_published_split_too() -> None:
    parts = paper(dataset("nomniglot"), numbered({"omniglot-0001": 0}, 20), validation=3)
    assert len(parts["validation"]) == 3
    assert len(parts["train"]) == 12
    assert parts["images"] == parts["train"]


def test_what_is_not_published_or_not_known_is_refused() -> None:
    with pytest.raises(InputError, match="no split of digits is published"):
        split_recordings(dataset("digits"), recordings(5), recipe(protocol="paper"), 0)
    with pytest.raises(InputError, match="leaves no recordings to test"):
        split_recordings(
            dataset("nmnist"), numbered({"mnist-train": 0}, 5), recipe(protocol="paper"), 0
        )
    with pytest.raises(
        InputError, match=r"which images were recorded is not published.*data\.protocol=paper"
    ):
        check_paired(dataset("cifar10dvs"), "instance-disjoint")
    check_paired(dataset("cifar10dvs"), "paper")
    check_paired(dataset("nmnist"), "instance-disjoint")
