"""Deployment: what an exported network does, and what it costs. Nothing here imports torch."""
