"""Tests of joint training and the mixed batch; test_methods.py has those of every method."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tmkt.networks import SpikingNetwork
from tmkt.recipe import MethodRecipe, NetworkRecipe
from tmkt.train.methods.base import Batch, Losses
from tmkt.train.methods.registry import METHODS

STEPS, SAMPLES, CLASSES = 4, 8, 3


def _batch(still: bool = False) -> Batch:
    rng = np.random.default_rng(0)
    events = torch.from_numpy((rng.random((STEPS, SAMPLES, 2, 16, 16)) < 0.2).astype(np.float32))
    images = torch.from_numpy(
        rng.random((SAMPLES, 2, 16, 16) if still else (STEPS, SAMPLES, 2, 16, 16), np.float32)
    )
    return Batch(events, images, torch.arange(SAMPLES) % CLASSES)


def _network() -> SpikingNetwork:
    torch.manual_seed(0)
    return SpikingNetwork(
        NetworkRecipe(channels=[4, 4], strides=[2, 1], pools=[1, 2]), (2, 16, 16), CLASSES
    )


def _losses(recipe: MethodRecipe, batch: Batch) -> Losses:
    net = _network()
    method, rng = METHODS[recipe.name](recipe, net, STEPS), np.random.default_rng(0)
    return method.losses(net, method.exchange(batch, rng, 0.0), rng, 0.0)


@pytest.mark.parametrize("still", [True, False], ids=["still", "simulated"])
def test_a_mixed_batch_is_recordings_first_and_then_images(still: bool) -> None:
    batch = _batch(still)
    static = batch.static
    expected = _network()(
        torch.stack([batch.events[:, i] if i < 2 else static[:, i] for i in range(SAMPLES)], dim=1)
    ).logits
    found = _losses(MethodRecipe(name="mix", real_share=0.25), batch)
    assert torch.equal(found.logits, expected)
    torch.testing.assert_close(found.total, F.cross_entropy(expected.mean(0), batch.labels))
    assert set(found.parts) == {"mixed"}


@pytest.mark.parametrize(("share", "stream"), [(0.0, "static"), (1.0, "events")])
def test_a_share_of_0_learns_from_images_alone_and_of_1_from_recordings_alone(
    share: float, stream: str
) -> None:
    batch = _batch()
    assert torch.equal(
        _losses(MethodRecipe(name="mix", real_share=share), batch).logits,
        _network()(getattr(batch, stream)).logits,
    )


def test_joint_training_adds_the_losses_of_both_streams_and_nothing_else() -> None:
    batch = _batch()
    net = _network()
    expected = sum(
        F.cross_entropy(net(stream).logits.mean(0), batch.labels)
        for stream in (batch.static, batch.events)
    )
    found = _losses(MethodRecipe(name="joint"), batch)
    torch.testing.assert_close(found.total, expected)
    assert set(found.parts) == {"static", "events"}
