import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tmkt.train.objectives import (
    ModalityGuidance,
    RatioPerception,
    StepWeights,
    alignment,
    cka,
    classification,
    distillation,
)


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


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
    by_definition = np.array([_cka_by_definition(x[t], y[t]) for t in range(3)])
    assert found.tolist() == pytest.approx(by_definition, abs=1e-9)
    weights = rng.random(3)
    weighted = alignment(torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(weights))
    assert float(weighted) == pytest.approx(float((weights * (1 - by_definition)).mean()), abs=1e-9)


def test_cka_is_computed_in_float32_where_the_network_computes_in_bfloat16() -> None:
    x, y = torch.rand((2, 3, 8, 200), generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        found = cka(x, y)
        assert cka(x.bfloat16(), y).dtype == torch.float32
    torch.testing.assert_close(found, cka(x.double(), y.double()).float(), rtol=1e-5, atol=0.0)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.integers(1, 9), st.integers(2, 7), st.integers(0, 2**31))
def test_both_forms_of_classification_are_those_of_their_definitions(
    steps: int, batch: int, classes: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    logits, labels, weights = (
        5 * rng.standard_normal((steps, batch, classes)),
        rng.integers(0, classes, batch),
        rng.random(steps),
    )
    one_of_each = np.arange(batch)
    mean = -np.log(_softmax(logits.mean(0))[one_of_each, labels]).mean()
    tet = 0.0
    for t in range(steps):
        entropy = -np.log(_softmax(logits[t])[one_of_each, labels]).mean()
        tet += weights[t] * (0.999 * entropy + 0.001 * ((logits[t] - 0.5) ** 2).mean()) / steps
    given_, right = torch.from_numpy(logits), torch.from_numpy(labels)
    assert float(classification(given_, right)) == pytest.approx(mean, abs=1e-9)
    assert float(classification(given_, right, "tet", torch.from_numpy(weights))) == pytest.approx(
        tet, abs=1e-9
    )
    assert float(classification(given_, right, "tet")) == pytest.approx(
        float(classification(given_, right, "tet", torch.ones(steps)))
    )
    smoothed = np.full((batch, classes), 0.2 / classes)
    smoothed[one_of_each, labels] += 0.8
    by_definition = -(smoothed * np.log(_softmax(logits.mean(0)))).sum(1).mean()
    found = classification(given_, right, smoothing=0.2)
    assert float(found) == pytest.approx(by_definition, abs=1e-9)
    each = [classification(given_[t : t + 1], right, "tet", smoothing=0.2) for t in range(steps)]
    assert float(classification(given_, right, "tet", smoothing=0.2)) == pytest.approx(
        float(torch.stack(each).mean()), abs=1e-9
    )
    squared = 0.001 * ((logits[0] - 0.5) ** 2).mean()
    alone = float(classification(given_[:1], right, smoothing=0.2))
    assert float(each[0]) == pytest.approx(0.999 * alone + squared, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(2, 7), st.floats(0.5, 10.0), st.integers(0, 2**31))
def test_distillation_is_the_divergence_from_the_softened_teacher(
    batch: int, classes: int, temperature: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    student, teacher = (
        3 * rng.standard_normal((batch, classes)),
        3 * rng.standard_normal((batch, classes)),
    )
    p, q = _softmax(teacher / temperature), _softmax(student / temperature)
    expected = temperature**2 * (p * np.log(p / q)).sum(1).mean()
    assert float(
        distillation(torch.from_numpy(student), torch.from_numpy(teacher), temperature)
    ) == pytest.approx(expected, abs=1e-9)
    assert float(
        distillation(torch.from_numpy(teacher), torch.from_numpy(teacher) + 7.0, temperature)
    ) == pytest.approx(0.0, abs=1e-9)


def test_the_weight_of_a_step_starts_at_the_published_coefficient() -> None:
    assert StepWeights(4)().tolist() == pytest.approx([0.7310586] * 4)


def test_features_that_are_equal_up_to_rotation_scale_and_offset_are_aligned() -> None:
    rng = np.random.default_rng(0)
    rotation = torch.from_numpy(np.linalg.qr(rng.standard_normal((40, 40)))[0])
    x = torch.from_numpy(rng.standard_normal((5, 12, 40)))
    assert cka(x, x).tolist() == pytest.approx([1.0] * 5)
    assert cka(x, 3.0 * (x @ rotation) + 2.0).tolist() == pytest.approx([1.0] * 5)
    assert float(alignment(x.reshape(5, 12, 4, 10), x.reshape(5, 12, 4, 10))) == pytest.approx(
        0.0, abs=1e-6
    )


def test_silent_features_give_no_alignment_and_a_finite_gradient() -> None:
    x = torch.zeros(2, 4, 3, requires_grad=True)
    loss = alignment(x, torch.rand(2, 4, 3))
    loss.backward()
    assert float(loss.detach()) == 1.0
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.integers(1, 9), st.integers(1, 6), st.integers(0, 2**31))
def test_guidance_and_perception_are_those_of_their_definitions(
    steps: int, batch: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    features, source = (
        rng.standard_normal((steps, batch, width)).astype(np.float32),
        (rng.random((steps, batch)) < 0.5).astype(np.float32),
    )
    guidance, perception = ModalityGuidance(width), RatioPerception(width)
    given_ = torch.from_numpy(features), torch.from_numpy(source)

    def probed(probe: torch.nn.Linear, x: np.ndarray) -> np.ndarray:
        weight, bias = probe.weight.detach().numpy(), probe.bias.detach().numpy()
        return np.asarray(1 / (1 + np.exp(-(x @ weight[0] + bias[0]))))

    p = probed(guidance.probe, features)
    assert float(guidance(*given_).detach()) == pytest.approx(
        float(-np.log(np.where(source, p, 1 - p)).mean()), rel=1e-4, abs=1e-5
    )
    error = probed(perception.probe, features.mean(0)) - source.mean(0)
    assert float(perception(*given_).detach()) == pytest.approx(
        float((error**2).mean()), rel=1e-4, abs=1e-6
    )


def test_the_probes_learn_what_they_are_named_for() -> None:
    torch.manual_seed(0)
    from_events = (torch.rand(10, 32) < 0.5).float()
    features = torch.stack(
        [from_events, torch.ones_like(from_events)], dim=-1
    )  # the modality can be read off
    for probe in (ModalityGuidance(2), RatioPerception(2)):
        optimizer = torch.optim.Adam(probe.parameters(), lr=0.1)
        first = float(probe(features, from_events).detach())
        for _ in range(200):
            optimizer.zero_grad()
            probe(features, from_events).backward()
            optimizer.step()
        assert float(probe(features, from_events).detach()) < first / 10
