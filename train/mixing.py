"""Time-step mixup: one sequence that begins as an image and ends as a recording (TMKT, arXiv 2509.12959 and 2511.12150)."""

import numpy as np
import torch
from torch import Tensor


def p_from_ratio(ratio: float, steps: int) -> float:
    """The probability p, at each step, of switching to events that replaces `ratio` of a `steps`-step sequence on average.

    With the switch at step t with probability p (1-p)^(t-1), t = 1..T, and none at all with (1-p)^T, the expected number of replaced
    steps is T - q (1 - q^T) / p, q = 1 - p, which grows with p: solved by bisection. That p is solved numerically from the expected
    ratio is in the paper; that the truncated geometric is not normalised is our reading (a normalised one cannot reach ratios
    below (T+1) / 2T). `ratio` in (0, 1).
    """
    if not 0.0 < ratio < 1.0:
        raise ValueError(f"ratio {ratio} is not in (0, 1)")
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        q = 1.0 - p
        if steps - q * (1.0 - q**steps) / p < ratio * steps:
            low = p
        else:
            high = p
    return (low + high) / 2


def time_step_mixup(images: Tensor, events: Tensor, p: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Replaces the end of each image sequence by the events of its pair: at most one switch, drawn for each sample by itself.

    `images` and `events` float [T, B, ...], paired along B. At each step from the first on, u ~ U(0, 1) is drawn; the first step with
    u < p and all later ones become event frames. Gives the mixed sequence and `from_events` float [T, B]: 1 where a frame is events.
    Its mean over T is the realised mix ratio of a sample.
    """
    steps, batch = events.shape[:2]
    switched = np.logical_or.accumulate(rng.random((steps, batch)) < p, axis=0)
    from_events = torch.from_numpy(switched).to(events.device)
    mixed = torch.where(from_events.view(steps, batch, *[1] * (events.dim() - 2)), events, images)
    return mixed, from_events.to(events.dtype)
