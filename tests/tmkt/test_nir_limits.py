"""NIR files of a few kilobytes whose networks would take gigabytes: refused before that."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from example_nir import affine, flatten, graph, lif, weights
from worker import GIB, Worker

from tmkt.errors import InputError
from tmkt.nir.file import EQUAL_BYTES, read_nir
from tmkt.nir.order import MAX_VALUES, order
from tmkt.program.model import MAX_NEURONS


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    made = Worker(limit_s=60)
    yield made
    made.close()


def conv(side: int, stride: int = 1, padding: Any = 1, dilation: int = 1) -> nir.Conv2d:
    return nir.Conv2d(
        (side, side),
        weights(4, 2, 3, 3),
        (stride, stride),
        padding if isinstance(padding, str) else (padding, padding),
        (dilation, dilation),
        1,
        weights(4),
    )


def network(side: int, first: nir.Conv2d, out: int, **before: Any) -> nir.NIRGraph:
    """A convolution of [2, side, side], neurons, and a read-out of maps of `out` x `out`."""
    return graph(
        (2, side, side),
        {
            **before,
            "conv": first,
            "neurons": lif(4, 1, 1),
            "flat": flatten(4, out, out),
            "linear": affine(10, 4 * out**2),
            "out": lif(10),
        },
    )


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (network(8192, conv(8192, 1024), 8), r"'input': found shape \(2, 8192, 8192\)"),
        (network(8, conv(8, padding=2**30), 3), "'conv': found a padded input of shape"),
        (network(8, conv(8, 2**30, padding=2**30), 3), "'conv': found a padded input of shape"),
        (network(8, conv(8, padding="same", dilation=2**30), 8), "'conv': found a padded input"),
        (network(2048, conv(2048), 8), rf"'neurons': found \d+ values.*at most {MAX_VALUES}"),
    ],
)
def test_networks_larger_than_any_chip_are_refused_with_the_node_and_the_limit(
    worker: Worker, tmp_path: Path, made: nir.NIRGraph, found: str
) -> None:
    with pytest.raises(InputError, match=found):
        order(made)
    path = tmp_path / "a.nir"
    nir.write(path, made)
    assert path.stat().st_size < 200_000
    export = ("export", path, "--bins", 4, "--bin-us", 1000, "--bits", "none", "--dt", 1e-4)
    for command in (("fit", path), (*export, "--out", tmp_path / "out")):
        answer = worker("tmkt", *command)
        assert answer.ended == "refused", answer
        assert answer.peak < GIB


def test_the_largest_input_is_read() -> None:
    side = int((MAX_NEURONS // 2) ** 0.5)
    assert order(network(side, conv(side, 512), 6)).input_shape == (2, side, side)


def test_a_file_unpacks_to_no_more_than_its_size_can_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    nir.write(path, network(8, conv(8), 8))
    read_nir(path)
    with h5py.File(path, "a") as file:
        del file["node/nodes/linear/weight"]
        file.create_dataset(
            "node/nodes/linear/weight", (EQUAL_BYTES // 16, 8), "f4", compression="gzip"
        )
    with pytest.raises(InputError, match="unpacks to more than is allowed"):
        read_nir(path)
    assert np.prod((EQUAL_BYTES // 16, 8)) * 4 == 2 * EQUAL_BYTES
