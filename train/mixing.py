"""Mixing event frames into the static stream.

Step by step (TMKT), sample by sample (Knowledge Transfer), or by similar classes (CKD).
"""

import numpy as np
import torch
from torch import Tensor


def p_from_ratio(ratio: float, steps: int) -> float:
    """Solve for the probability p, at each step, of switching to events.

    p replaces the share `ratio` of a sequence of so many `steps` on average. The switch comes at
    step t with probability p (1-p)^(t-1), t = 1..T, and not at all with (1-p)^T. So the expected
    number of replaced steps is T - q (1 - q^T) / p, q = 1 - p, which grows with p: it is solved by
    bisection. The paper says that p is solved numerically from the expected ratio. That the
    truncated geometric law is not normalised is our reading: a normalised one cannot reach ratios
    below (T+1) / 2T. `ratio` is in [0, 1].
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
    """Replace the end of each image sequence by the events of its pair.

    Each sample switches once at most, at a step that is drawn for it alone: at each step from the
    first on, u ~ U(0, 1) is drawn; the first step with u < p and all later ones become event
    frames. `images` and `events` are float [T, B, ...], paired along B. Gives the mixed sequence
    and `from_events`, float [T, B]: 1 where a frame is events. Its mean over T is the realised mix
    ratio of a sample. TMKT (arXiv 2509.12959 and 2511.12150).
    """
    steps, batch = events.shape[:2]
    switched = np.logical_or.accumulate(rng.random((steps, batch)) < p, axis=0)
    from_events = torch.from_numpy(switched).to(events.device, non_blocking=True)
    mixed = torch.where(from_events.view(steps, batch, *[1] * (events.dim() - 2)), events, images)
    return mixed, from_events.to(events.dtype)


def draw_partners(labels: Tensor, rng: np.random.Generator) -> Tensor:
    """Draw for each sample of a batch another one of its class: indices, int64 [B].

    A sample that is the only one of its class is its own partner.
    """
    partners = np.arange(len(labels))
    for label in np.unique(labels.cpu().numpy()):
        own = rng.permutation(np.flatnonzero(labels.cpu().numpy() == label))
        partners[own] = np.roll(own, 1)
    return torch.from_numpy(partners)


def draw_replaced(batch: int, progress: float, power: float, rng: np.random.Generator) -> Tensor:
    """Draw the samples of the static stream that recordings replace, as bool [batch].

    Each is replaced with probability progress^power, where `progress` is the share of all training
    steps that are done. This is Knowledge Transfer's sliding replacement; its power is 3.
    """
    return torch.from_numpy(rng.random(batch) < progress**power)


def replace_samples(static: Tensor, events: Tensor, where: Tensor) -> Tensor:
    """Replace samples of the static stream [T, B, ...] by those of `events`, at all steps.

    `where`, bool [B], says which ones.
    """
    return torch.where(
        where.to(events.device, non_blocking=True).view(1, -1, *[1] * (events.dim() - 2)),
        events,
        static,
    )


def draw_similar(
    similarity: Tensor, labels: Tensor, temperature: float, rng: np.random.Generator
) -> Tensor:
    """Draw for each sample of a batch one of the same or of a similar class: indices, int64 [B].

    Sample j is drawn for i with probability in proportion to
    exp(similarity[labels[i], labels[j]] / temperature); a temperature of 0 pairs every sample with
    itself. `similarity` is [classes, classes], `labels` is [B]. CKD's abstract (arXiv 2507.09269)
    says that it replaces by semantic similarity; the rule is ours.
    """
    if temperature == 0.0:
        return torch.arange(len(labels))
    logits = similarity[labels][:, labels].double().cpu().numpy() / temperature
    # The largest of logits + Gumbel noise is a draw from their softmax.
    gumbel = rng.gumbel(size=logits.shape)
    return torch.from_numpy((logits + gumbel).argmax(1))
