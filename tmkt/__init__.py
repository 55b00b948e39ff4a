"""Shared ground of the stages: events, data sets, networks, programs, bundles, the command line.

`from tmkt import load, read_recordings, run, evaluate, trace, parity, energy` gives what a notebook
needs (docs/python.md). The names come from `tmkt.deploy.api`, which is loaded when one of them is
first asked for.
"""

from typing import TYPE_CHECKING

__version__ = "0.2.0"
__all__ = ["energy", "evaluate", "load", "parity", "read_recordings", "run", "trace"]

if TYPE_CHECKING:
    from tmkt.deploy.api import energy, evaluate, load, parity, read_recordings, run, trace


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'tmkt' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("tmkt.deploy.api"), name)
