"""How event frames come into the static stream: step by step (TMKT), sample by sample (Knowledge
Transfer), by likeness of classes (CKD).
"""

import numpy as np
import torch
from torch import Tensor


def p_from_ratio(ratio: float, steps: int) -> float:
    """The probability p, at each step, of switching to events that replaces `ratio` of a
    `steps`-step sequence on average.

    With the switch at step t with probability p (1-p)^(t-1), t = 1..T, and none at all with
    (1-p)^T, the expected number of replaced steps is T - q (1 - q^T) / p, q = 1 - p, which grows
    with p: solved by bisection. That p is solved numerically from the expected ratio is in the
    paper; that the truncated geometric is not normalised is our reading (a normalised one cannot
    reach ratios below (T+1) / 2T). `ratio` in [0, 1].
    """
    if not 0.0 <= ratio <= 1.0:
        raise ValueError(f"ratio {ratio} is not in [0, 1]")
    if ratio in (0.0, 1.0):
        return ratio
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        q = 1.0 - p
        if steps - q * (1.0 - q**steps) / p < ratio * steps:
            low = p
        else:
            high = p
    return (low + high) / 2


def time_step_mixup(
    images: Tensor, events: Tensor, p: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Replaces the end of each image sequence by the events of its pair: at most one switch, drawn
    for each sample by itself.

    `images` and `events` float [T, B, ...], paired along B. At each step from the first on, u ~
    U(0, 1) is drawn; the first step with u < p and all later ones become event frames. Gives the
    mixed sequence and `from_events` float [T, B]: 1 where a frame is events. Its mean over T is the
    realised mix ratio of a sample. TMKT (arXiv 2509.12959 and 2511.12150).
    """
    steps, batch = events.shape[:2]
    switched = np.logical_or.accumulate(rng.random((steps, batch)) < p, axis=0)
    from_events = torch.from_numpy(switched).to(events.device)
    mixed = torch.where(from_events.view(steps, batch, *[1] * (events.dim() - 2)), events, images)
    return mixed, from_events.to(events.dtype)


def replaced(batch: int, progress: float, power: float, rng: np.random.Generator) -> Tensor:
    """Which samples, bool [batch], of the static stream are replaced by recordings: each with
    probability progress^power.

    Knowledge Transfer's sliding replacement: `progress` is the share of all training steps that are
    done, its power 3.
    """
    return torch.from_numpy(rng.random(batch) < progress**power)


def replace(static: Tensor, events: Tensor, where: Tensor) -> Tensor:
    """The static stream [T, B, ...] with the samples `where` (bool [B]) replaced, at all steps, by
    those of `events`.
    """
    return torch.where(
        where.to(events.device).view(1, -1, *[1] * (events.dim() - 2)), events, static
    )


def like_pairs(
    likeness: Tensor, labels: Tensor, temperature: float, rng: np.random.Generator
) -> Tensor:
    """For each sample of a batch the index, int64 [B], of a sample of the same or of a similar
    class.

    Sample j is drawn for i with probability in proportion to exp(likeness[labels[i], labels[j]] /
    temperature); a temperature of 0 pairs every sample with itself. `likeness` [classes, classes],
    `labels` [B]. That CKD (arXiv 2507.09269) replaces by semantic similarity is in its abstract;
    the rule is ours.
    """
    if temperature == 0.0:
        return torch.arange(len(labels))
    logits = likeness[labels][:, labels].double().cpu().numpy() / temperature
    gumbel = rng.gumbel(
        size=logits.shape
    )  # the largest of logits + Gumbel noise is a draw from their softmax
    return torch.from_numpy((logits + gumbel).argmax(1))
