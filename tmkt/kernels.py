"""Compilation of kernels with numba."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.core import event

from tmkt import console

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a function with numba at its first call.

    The result is cached on disk; without a place to write, each process compiles anew.
    """
    try:
        return numba.njit(cache=True, nogil=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # numba found no writable cache folder
        return numba.njit(nogil=True)(function)  # type: ignore[no-any-return]


def inlined(function: F) -> F:
    """Compile a function into each kernel that uses it.

    It is for short loops, where a call would cost as much as the work.
    """
    return numba.njit(inline="always")(function)  # type: ignore[no-any-return]


class _CompilationNote(event.Listener):  # type: ignore[misc]
    """Tells the user of the command line, once, why the first call takes so long."""

    def on_start(self, _: Any) -> None:
        if console.command_line:
            console.command_line = False  # once
            console.note("Compiling the inner loops, once on this machine: about ten seconds ...")

    def on_end(self, _: Any) -> None: ...


event.register("numba:compile", _CompilationNote())
