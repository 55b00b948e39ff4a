"""Quantisation: calibration, rounding, the integer program, and the report."""
