"""Figures of the class `nothing`: recordings taken for noise, and noise for recordings."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.datasets.background import noise_frames
from tmkt.deploy.engines.types import Engine
from tmkt.deploy.evaluate import measure
from tmkt.events.types import View

MOST_SAMPLES = 200  # of noise
SEED = (0, 7)  # of noise that no training draws


def nothing_report(
    bundle: Bundle,
    engine: Engine,
    predictions: NDArray[np.int64],
    labels: NDArray[np.int64],
    view: View | None,
) -> dict[str, Any]:
    """Measure the class `nothing` on the answers to recordings, and on simulated noise that is
    drawn here, as many samples as recordings, at most MOST_SAMPLES.

    `bundle` has such a class; `view`: that of the recordings.
    """
    nothing = bundle.nothing
    assert nothing is not None
    count = min(len(labels), MOST_SAMPLES)
    frames = noise_frames(count, bundle.camera, view, np.random.default_rng(SEED))
    found = measure(bundle, engine, frames).predictions
    true = labels != nothing
    return {
        "class": bundle.classes[nothing],
        "recordings_called_nothing": float((predictions[true] == nothing).mean()),
        "noise_samples": count,
        "noise_called_nothing": float((found == nothing).mean()),
    }
