"""Compiled kernels."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.core import event

from tmkt import console

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compiles with numba at the first call, cached on disk where there is a place to write, else
    compiled anew in each process.
    """
    try:
        return numba.njit(cache=True, nogil=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # numba found no writable cache folder
        return numba.njit(nogil=True)(function)  # type: ignore[no-any-return]


def inlined(function: F) -> F:
    """A part of kernels that is compiled into each of them: a call would cost as much as its few
    rounds of work.
    """
    return numba.njit(inline="always")(function)  # type: ignore[no-any-return]


class _SayThatItCompiles(event.Listener):  # type: ignore[misc]
    def on_start(self, _: Any) -> None:
        if console.command_line:
            console.command_line = False  # once
            console.note("Compiling the inner loops, once on this machine: about ten seconds ...")

    def on_end(self, _: Any) -> None: ...


event.register("numba:compile", _SayThatItCompiles())
