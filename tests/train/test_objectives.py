import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tmkt.networks import SpikingNetwork
from tmkt.recipe import MethodRecipe, NetworkRecipe
from tmkt.train.methods import METHODS, Batch
from tmkt.train.objectives import ModalityGuidance, RatioPerception, alignment, cka

NETWORK = NetworkRecipe(channels=[4, 4], strides=[2, 1], pools=[1, 2])


def _cka_by_definition(x: np.ndarray, y: np.ndarray) -> float:
    n = len(x)
    centre = np.eye(n) - np.ones((n, n)) / n
    k, other = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    return float(np.trace(k @ other) / (np.sqrt(np.trace(k @ k) * np.trace(other @ other)) + 1e-7))


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**31))
def test_cka_is_that_of_its_definition(batch: int, features: int, others: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((3, batch, features)), 1.0 + rng.standard_normal((3, batch, others))
    found = cka(torch.from_numpy(x), torch.from_numpy(y))
    assert found.tolist() == pytest.approx([_cka_by_definition(x[t], y[t]) for t in range(3)], abs=1e-9)


def test_features_that_are_equal_up_to_rotation_scale_and_offset_are_aligned() -> None:
    rng = np.random.default_rng(0)
    rotation = torch.from_numpy(np.linalg.qr(rng.standard_normal((40, 40)))[0])
    x = torch.from_numpy(rng.standard_normal((5, 12, 40)))
    assert cka(x, x).tolist() == pytest.approx([1.0] * 5)
    assert cka(x, 3.0 * (x @ rotation) + 2.0).tolist() == pytest.approx([1.0] * 5)
    assert float(alignment(x.reshape(5, 12, 4, 10), x.reshape(5, 12, 4, 10))) == pytest.approx(0.0, abs=1e-6)


def test_silent_features_give_no_alignment_and_a_finite_gradient() -> None:
    x = torch.zeros(2, 4, 3, requires_grad=True)
    loss = alignment(x, torch.rand(2, 4, 3))
    loss.backward()
    assert float(loss.detach()) == 1.0
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_the_probes_learn_what_they_are_named_for() -> None:
    torch.manual_seed(0)
    from_events = (torch.rand(10, 32) < 0.5).float()
    features = torch.stack([from_events, torch.ones_like(from_events)], dim=-1)  # the modality can be read off
    for probe in (ModalityGuidance(2), RatioPerception(2)):
        optimizer = torch.optim.Adam(probe.parameters(), lr=0.1)
        first = float(probe(features, from_events).detach())
        for _ in range(200):
            optimizer.zero_grad()
            probe(features, from_events).backward()
            optimizer.step()
        assert float(probe(features, from_events).detach()) < first / 10


def _batch() -> Batch:
    rng = np.random.default_rng(0)
    events = torch.from_numpy((rng.random((5, 8, 2, 16, 16)) < 0.2).astype(np.float32))
    return Batch(events, torch.from_numpy(rng.random((8, 2, 16, 16), np.float32)), torch.arange(8) % 3)


def _network() -> SpikingNetwork:
    torch.manual_seed(0)
    return SpikingNetwork(NETWORK, (2, 16, 16), 3)


def test_tmkt_keeps_the_batch_norm_statistics_of_the_events_alone() -> None:
    batch, deployed = _batch(), {}
    for name in ("tmkt", "events"):
        net = _network()
        method = METHODS[name](MethodRecipe(name=name), net, 5)
        method.losses(net, batch, np.random.default_rng(0), 0.0).total.backward()
        deployed[name] = {key: value for key, value in net.state_dict().items() if "running" in key or "tracked" in key}
        assert all(m.track_running_stats for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    assert deployed["tmkt"].keys() == deployed["events"].keys()
    assert len(deployed["tmkt"]) == 6
    for key, value in deployed["tmkt"].items():
        assert torch.equal(value, deployed["events"][key]), key
        assert not torch.equal(value, _network().state_dict()[key]), key


def test_tmkt_adds_its_parts_with_the_weights_of_the_recipe() -> None:
    net, batch = _network(), _batch()
    weights = MethodRecipe(name="tmkt", alignment=0.7, modality_guidance=0.2, ratio_perception=0.3)
    method = METHODS["tmkt"](weights, net, 5)
    losses = method.losses(net, batch, np.random.default_rng(0), 0.0)
    p = {name: float(loss.detach()) for name, loss in losses.parts.items()}
    assert all(value > 0 for value in p.values())
    expected = p["mixed"] + p["events"] + 0.7 * p["alignment"] + 0.2 * p["modality_guidance"] + 0.3 * p["ratio_perception"]
    assert float(losses.total.detach()) == pytest.approx(expected, rel=1e-6)
    losses.total.backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in [*net.parameters(), *method.parameters()])
