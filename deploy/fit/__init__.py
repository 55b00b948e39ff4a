"""Where a network fits on a chip, what crosses between cores, and how long a step takes.
docs/fit.md gives the rules.
"""
