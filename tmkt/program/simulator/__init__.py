"""The reference engine: runs an integer program exactly, with compiled loops."""
