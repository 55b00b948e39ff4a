"""Protocols: how recordings and images are split into training, validation and test.

"instance-disjoint" is ours and the default: no thing that is tested is seen in training, neither in
another recording nor as an image. "paper" is a data set's published split. Where that one leaks, as
N-Caltech101's does, results by it compare with papers and nothing else. "test-folder" is that of a
training that was given the recordings to test in a folder of their own, as of another session.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tmkt.datasets.splits import few_shot, groups, instances_in_words, parted, without_instances
from tmkt.datasets.types import Dataset, Recording, StaticImages, in_order
from tmkt.errors import InputError
from tmkt.recipe import DataRecipe

TEST_FOLDER = "test-folder"


@dataclass(frozen=True)
class Split:
    """Parts of a data set, each in order of instance.

    `images_of` are the instances whose images may be trained on; None: all but `no_images_of`.
    """

    protocol: str
    train: list[Recording]
    validation: list[Recording]
    test: list[Recording]
    images_of: set[str] | None
    no_images_of: set[str]

    def choose_images(self, images: StaticImages) -> StaticImages:
        """Choose the images that may be trained on; InputError if there is none."""
        barred = set(self.no_images_of)
        if self.images_of is not None:
            barred |= set(images.instances) - self.images_of
        return without_instances(images, barred)


def split_recordings(
    source: Dataset,
    recordings: Sequence[Recording],
    data: DataRecipe,
    seed: int,
    tested: Sequence[Recording] | None = None,
) -> Split:
    """Split the recordings of a data set as a recipe says; `tested` come from a folder of their
    own and are all tested.

    The draw depends on the instances and the seed alone. The validation part is taken from what is
    left beside the shots, or else from what would be trained on; never from a published test part.
    Raises InputError where a part would have nothing of a class, and for "paper" where no split is
    published.
    """
    if tested is not None:
        return _with_test_folder(recordings, tested, data, seed)
    if data.protocol == "paper":
        if source.paper is None:
            raise InputError(
                f"data.protocol = 'paper': no split of {source.name} is published, expected"
                " 'instance-disjoint'; leave the key out"
            )
        train, test, images_of = source.paper(recordings)
        for name, part in (("train on", train), ("test", test)):
            if not part:
                raise InputError(
                    f"{source.name}: the published split leaves no recordings to {name}; give a"
                    " fuller --data or another protocol"
                )
        train, validation = _take_validation(train, data.validation, seed)
        return Split(
            "paper",
            train,
            validation=validation,
            test=test,
            images_of=images_of,
            no_images_of={r.instance for r in validation},
        )
    if data.shots:
        train, rest = few_shot(recordings, data.shots, seed)
        test, validation = _take_validation(rest, data.validation, seed)
    else:
        both, test = by_share(recordings, data.train_share, seed)
        train, validation = _take_validation(both, data.validation, seed)
    return Split(
        "instance-disjoint",
        train,
        validation=validation,
        test=test,
        images_of=None,
        no_images_of={r.instance for r in (*test, *validation)},
    )


def _with_test_folder(
    recordings: Sequence[Recording], tested: Sequence[Recording], data: DataRecipe, seed: int
) -> Split:
    """Train on all recordings, or on the recipe's shots of each class, and test all of `tested`."""
    if data.protocol == "paper":
        raise InputError(
            "data.protocol = 'paper': a published split says what is tested, expected no folder to"
            " test on; leave out --test or the key"
        )
    twice = {r.path.resolve() for r in recordings} & {r.path.resolve() for r in tested}
    if twice:
        raise InputError(
            f"{min(twice)}: is trained on and tested, expected recordings apart; give --data and"
            " --test folders that share none"
        )
    train, rest = in_order(recordings), None
    if data.shots:
        train, rest = few_shot(recordings, data.shots, seed, left=0)
    if rest:
        _, validation = _take_validation(rest, data.validation, seed)
    else:
        train, validation = _take_validation(train, data.validation, seed)
    test = in_order(tested)
    barred = {r.instance for r in (*test, *validation)}
    return Split(
        TEST_FOLDER, train, validation=validation, test=test, images_of=None, no_images_of=barred
    )


def check_paired(source: Dataset, protocol: str) -> None:
    """Raise InputError where it is not known which images show what is tested."""
    if protocol != "paper" and not source.paired:
        raise InputError(
            f"{source.title}: which images were recorded is not published, so images of tested"
            " things cannot be left out; train on recordings alone, or name the leak:"
            " data.protocol=paper"
        )


def by_share(
    recordings: Sequence[Recording], share: float, seed: int
) -> tuple[list[Recording], list[Recording]]:
    """Draw `share` of the instances of every class to train on, at least one and never all.

    Gives (train, test) as `few_shot` does.
    """
    rng = np.random.default_rng([seed, 2])
    drawn: set[str] = set()
    for what, instances in groups(recordings):
        if len(instances) < 2:
            raise InputError(
                f"{what}: {instances_in_words(instances)}, expected at least 2, one to train"
                " on and one to test; give more"
            )
        n = min(max(round(share * len(instances)), 1), len(instances) - 1)
        drawn.update(instances[i] for i in rng.choice(len(instances), n, replace=False))
    return parted(in_order(recordings), drawn)


def _take_validation(
    recordings: list[Recording], wanted: float, seed: int
) -> tuple[list[Recording], list[Recording]]:
    """Draw the validation part: `wanted` instances of every class, or a share of them if below 1.

    Gives (others, validation).
    """
    if not wanted:
        return recordings, []
    rng = np.random.default_rng([seed, 1])
    drawn: set[str] = set()
    for what, instances in groups(recordings):
        n = int(wanted) if wanted >= 1 else max(round(wanted * len(instances)), 1)
        if len(instances) <= n:
            raise InputError(
                f"{what}: {len(instances)} instances to take {n} for validation from, expected"
                " more; lower data.validation or give more"
            )
        drawn.update(instances[i] for i in rng.choice(len(instances), n, replace=False))
    validation, others = parted(recordings, drawn)
    return others, validation
