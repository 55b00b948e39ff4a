import numpy as np
import pytest
import torch

from tmkt.train.mixing import (
    draw_replaced,
    draw_similar,
    p_from_ratio,
    replace_samples,
    time_step_mixup,
)

SOLVED = {
    0.1: 0.01925,
    0.2: 0.04102,
    0.3: 0.06606,
    0.4: 0.0955,
    0.5: 0.13118,
    0.6: 0.17632,
    0.7: 0.2373,
    0.8: 0.32921,
    0.9: 0.49975,
}  # T = 10


@pytest.mark.parametrize(("ratio", "p"), list(SOLVED.items()))
def test_switch_probability_for_ten_steps_is_that_of_the_solved_table(
    ratio: float, p: float
) -> None:
    assert p_from_ratio(ratio, 10) == pytest.approx(p, abs=6e-6)


@pytest.mark.parametrize("steps", [1, 6, 16])
@pytest.mark.parametrize("ratio", [0.01, 0.5, 0.99])
def test_switch_probability_gives_the_ratio_in_expectation(ratio: float, steps: int) -> None:
    p = p_from_ratio(ratio, steps)
    expected = sum((steps + 1 - t) * p * (1 - p) ** (t - 1) for t in range(1, steps + 1))
    assert expected == pytest.approx(ratio * steps, rel=1e-6)


def test_a_ratio_that_no_probability_gives_is_refused() -> None:
    with pytest.raises(ValueError, match="ratio"):
        p_from_ratio(1.1, 10)


def test_the_ratios_at_the_ends_mix_nothing_and_replace_all() -> None:
    assert p_from_ratio(0.0, 10) == 0.0
    assert p_from_ratio(1.0, 10) == 1.0


def test_mixed_sequences_begin_as_images_switch_at_most_once_and_keep_the_mean_ratio() -> None:
    images, events = torch.zeros(10, 20000, 1), torch.ones(10, 20000, 1)
    mixed, from_events = time_step_mixup(
        images, events, p_from_ratio(0.3, 10), np.random.default_rng(0)
    )
    assert torch.equal(mixed[..., 0], from_events)  # 1 where the frame is an event frame
    assert (from_events.diff(dim=0) >= 0).all()  # never back to images
    assert float(from_events.mean()) == pytest.approx(0.3, abs=0.01)
    assert float((from_events.sum(0) == 0).float().mean()) == pytest.approx(
        0.505, abs=0.01
    )  # most sequences at a low ratio never switch


def test_mixing_takes_the_frames_of_the_same_step_and_the_same_pair() -> None:
    rng = np.random.default_rng(1)
    images, events = torch.rand(6, 4, 2, 3, 3), torch.rand(6, 4, 2, 3, 3)
    mixed, from_events = time_step_mixup(images, events, 0.4, rng)
    for t in range(6):
        for b in range(4):
            assert torch.equal(mixed[t, b], (events if from_events[t, b] else images)[t, b])
    assert 0 < from_events.mean() < 1


@pytest.mark.parametrize("progress", [0.0, 0.5, 0.8, 1.0])
def test_the_static_stream_slides_to_recordings_by_the_cube_of_the_progress(
    progress: float,
) -> None:
    where = draw_replaced(20000, progress, 3.0, np.random.default_rng(0))
    assert float(where.float().mean()) == pytest.approx(progress**3, abs=0.01)


def test_a_replaced_sample_is_its_recording_at_all_steps() -> None:
    static, events, where = (
        torch.rand(4, 5, 2, 3, 3),
        torch.rand(4, 5, 2, 3, 3),
        torch.tensor([True, False, True, False, False]),
    )
    found = replace_samples(static, events, where)
    for b in range(5):
        assert torch.equal(found[:, b], (events if where[b] else static)[:, b])


def test_pairs_are_drawn_in_proportion_to_the_likeness_of_their_classes() -> None:
    likeness = torch.tensor([[1.0, 0.5, -0.5], [0.5, 1.0, 0.0], [-0.5, 0.0, 1.0]])
    labels, rng = torch.tensor([0, 1, 2, 2]), np.random.default_rng(0)
    drawn = np.zeros((4, 4))
    for _ in range(4000):
        drawn[np.arange(4), draw_similar(likeness, labels, 0.5, rng).numpy()] += 1
    expected = np.exp(likeness.numpy()[labels][:, labels] / 0.5)
    np.testing.assert_allclose(drawn / 4000, expected / expected.sum(1, keepdims=True), atol=0.03)
    assert draw_similar(likeness, labels, 0.0, rng).tolist() == [0, 1, 2, 3]
    strict = labels[draw_similar(likeness, labels, 1e-4, rng)]
    assert strict.tolist() == labels.tolist()  # nearly no temperature: always the same class
