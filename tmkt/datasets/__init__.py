"""Data sets as users have them on disk: recordings, and images of the same kind of things.

docs/datasets.md has their layouts; `registry.dataset` gives one by name.
"""
