from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from example_backbone import tiny_recipe

from tmkt.datasets.digits import simulate_digits
from tmkt.train.trainer import train


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Use one thread: the networks of these tests are so small that threads only wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four simulated recordings of each digit, with their images."""
    folder = tmp_path_factory.mktemp("data") / "digits"
    simulate_digits(folder, 4, 0)
    return folder


@pytest.fixture(scope="module")
def backbone(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run to start from, on one recording a class."""
    out = tmp_path_factory.mktemp("runs") / "backbone"
    train(tiny_recipe(network={}), digits, None, out)
    return out
