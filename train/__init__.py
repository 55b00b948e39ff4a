"""Training of spiking networks on images and events."""

import os
from pathlib import Path

# Torch's threads spin while they wait: with any other work on the same cores a step takes much
# longer (measured: two trainings on two cores, more than 4 s a step instead of 0.9). Torch reads
# this when it is first imported; it changes no result.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

RECIPES = Path(__file__).parent / "recipes"
