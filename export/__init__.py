"""Export: how a trained network becomes integers, and files that other programs read."""
