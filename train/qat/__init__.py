"""Quantisation-aware training: the forward pass runs the integer program."""
