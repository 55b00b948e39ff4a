"""Training: how a spiking network learns from images and events."""

from pathlib import Path

RECIPES = Path(__file__).parent / "recipes"
