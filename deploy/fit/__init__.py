"""Placement of a network on a chip: cores, traffic between them, and the time of a step.

docs/fit.md gives the rules.
"""
