"""A training step keeps as much in memory as was counted on paper (docs/training.md)."""

import pytest
import torch
from saved_memory import PAIRS, SIDE, STEPS, kt_bytes_per_pair_and_step, vggsnn_values


def test_paper_counts_the_values_that_the_documentation_names() -> None:
    assert vggsnn_values(SIDE) == (520_704, 921_600)


@pytest.mark.parametrize("again", [False, True])
def test_kts_step_keeps_inputs_and_outputs_of_convolutions_alone(again: bool) -> None:
    kept = kt_bytes_per_pair_and_step(torch.device("cpu"), "fp32", again)
    taken, given = vggsnn_values(SIDE)
    last = 512 * 6**2  # the last block is not computed again
    on_paper = 2 * 4 * (taken + (last if again else given))  # two streams, float32
    assert kept == pytest.approx(on_paper, rel=0.05)
    gigabytes = kept * PAIRS * STEPS / 1e9
    assert gigabytes < (38 / 4 if again else 15)
