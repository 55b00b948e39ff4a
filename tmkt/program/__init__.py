"""The integer program: its model and file, its arithmetic, its connectivity, and the reference
simulator.
"""
