"""Training: how a spiking network learns from images and events."""

import os
from pathlib import Path

# Torch's threads spin while they wait: beside any other work on the same cores, a step takes ten
# times as long (measured: two trainings on two cores, more than 4 s a step instead of 0.9). Read
# when torch is first imported; it changes no result.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

RECIPES = Path(__file__).parent / "recipes"
