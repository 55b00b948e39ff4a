import random
from pathlib import Path

import numpy as np
import pytest

from tmkt.datasets import Recording, StaticImages, dataset
from tmkt.datasets.splits import choose, draw, few_shot, from_ranges, to_ranges, without_instances
from tmkt.errors import InputError


def recordings(per_class: int, classes: int = 3) -> list[Recording]:
    return [Recording(Path(f"{c}/{i}.bin"), c, f"thing-{c * per_class + i}") for c in range(classes) for i in range(per_class)]


def names(chosen: list[Recording]) -> set[str]:
    return {r.instance for r in chosen}


def test_a_real_few_shot_split_shares_no_instance_between_training_images_and_test(shared_data: Path) -> None:
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
    assert all(images.labels[images.instances.index(r.instance)] == r.label for r in train if r.instance.startswith("mnist-train-"))


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
    with pytest.raises(InputError, match="class 3: 2 recorded instances, expected more than the 2 to train on"):
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
    assert names(choose(found, "test", ["thing-0"], {"thing-1", "thing-2"})) == names(found) - {"thing-0", "thing-1", "thing-2"}
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
