"""A folder for one process alone: Lava's compiler runs every Python file that lies beside a
process's own.
"""
