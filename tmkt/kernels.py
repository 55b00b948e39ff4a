"""Compilation of kernels with numba."""

import gc
import hashlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, TypeVar

import numba
from numba.core import event
from numba.core.caching import NullCache
from numba.core.runtime.nrt import rtsys

from tmkt import console
from tmkt.files import user_cache
from tmkt.interrupts import note_interrupts
from tmkt.linking import ToLink

LONGEST_S = 30.0  # that another process is waited for; then it is compiled here
LOOK_S = 0.02  # after which its result is looked for again

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a function with numba at its first call.

    The result is cached on disk; without a place to write, each process compiles anew.
    """
    return compiled(function)


def compiled(function: F, **options: Any) -> F:
    """Compile as `kernel` does, with more of numba's options."""
    if user_cache() is None and "NUMBA_CACHE_DIR" not in os.environ:
        # numba would make a folder called "~" in the working folder
        return numba.njit(nogil=True, **options)(function)  # type: ignore[no-any-return]
    try:
        found = numba.njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:  # numba found no writable cache folder
        return numba.njit(nogil=True, **options)(function)  # type: ignore[no-any-return]
    _forgive(found)
    _stamp_all_sources(found)
    return found  # type: ignore[no-any-return]


def inner(function: F) -> F:
    """Compile a function for kernels that call it, and for nothing else.

    Without what Python would call it by, and without machine code of its own: each saves a tenth of
    what a first evaluate compiles (measured).
    """
    options = {"nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return numba.njit(pipeline_class=ToLink, **options)(function)  # type: ignore[no-any-return]


def _forgive(dispatcher: Any) -> None:
    """Let a cache that cannot be read or written cost time, and nothing else.

    numba raises what the disk says (full, read-only) and what pickle says of damaged files from
    the kernel's first call, where readers would take it for a fault of the recording.
    """
    found = dispatcher._cache
    load, save = found._load_overload, found.save_overload

    def load_overload(signature: Any, target: Any) -> Any:
        waited_s = 0.0
        while True:
            beside = _compiles_beside(dispatcher)  # before the look: it ends once all is kept
            compiled = load_now(signature, target)
            if compiled is not None or not beside or waited_s > LONGEST_S:
                return compiled
            _compilations.begin()
            sleep(LOOK_S)
            _compilations.end()
            waited_s += LOOK_S

    def load_now(signature: Any, target: Any) -> Any:
        _compilations.begin()
        try:
            # numba would first load all that compiling may need: a fifth of a short command
            rtsys.initialize(target)
            return load(signature, target)
        except Exception:  # whatever unpickling a damaged file raises
            return None
        finally:
            _compilations.end()

    def save_overload(*arguments: Any) -> None:
        _compilations.begin()
        with suppress(OSError):
            save(*arguments)
        _compilations.end()

    found.load_overload, found.save_overload = load_overload, save_overload


def _stamp_all_sources(dispatcher: Any) -> None:
    """Let the cache of a kernel notice a change in all that is compiled into it.

    numba's own stamp is that of the file in which the kernel stands. Functions of other files, and
    their constants, are looked for when the kernel is first called: all of them exist by then.
    """
    file, load = dispatcher._cache._cache_file, dispatcher._cache.load_overload
    own = file._source_stamp

    def load_overload(*arguments: Any) -> Any:
        if file._source_stamp is own:
            taken: dict[str, str] = {}
            _collect(dispatcher.py_func, taken)
            file._source_stamp = (own, tuple(sorted(taken.items())))
        return load(*arguments)

    dispatcher._cache.load_overload = load_overload


def _collect(function: Any, taken: dict[str, str]) -> None:
    """Collect the constants and the hashes of files that compiling a function uses."""
    file = function.__code__.co_filename
    if file not in taken:
        taken[file] = _hash(file)
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        called = getattr(value, "py_func", None) or getattr(value, "_defn", None)
        key = f"{function.__module__}.{name}"
        if key in taken:
            continue
        if called is not None:
            taken[key] = called.__qualname__
            _collect(called, taken)
        elif isinstance(value, bool | int | float | tuple):
            taken[key] = repr(value)


@cache
def _hash(file: str) -> str:
    with suppress(OSError):
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return ""  # of no file, as in a notebook: numba does not cache its functions


_beside: dict[Any, Any] = {}  # processes that compile, by kernel


def can_compile_beside(kernels: list[Any]) -> bool:
    """Tell whether kernels may be compiled in processes of their own, and none of them was kept.

    Such a process is a copy of this one: it begins at once and knows what this one knows, but only
    Linux has it, and only while one thread runs. So it is for the command line.
    """
    alone = console.command_line and threading.active_count() == 1
    return sys.platform == "linux" and alone and not any(_is_kept(kernel) for kernel in kernels)


def compile_beside(kernels: list[Any], call: Callable[[], None]) -> None:
    """Compile kernels in a process of their own, by calling them there. Who calls one of them here
    waits for it.
    """
    process = get_context("fork").Process(target=_compile, args=(call,), daemon=True)
    with warnings.catch_warnings():
        # Python 3.12 warns of threads at a fork: here, those of matrix products, which are idle
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    _beside.update(dict.fromkeys(kernels, process))


def _is_kept(kernel: Any) -> bool:
    """Tell whether the disk holds a kernel, compiled for whatever arguments, or cannot hold any."""
    cache = kernel._cache
    return isinstance(cache, NullCache) or Path(cache._cache_file._index_path).exists()


def _compile(call: Callable[[], None]) -> None:
    """Compile in silence: who stops the command, or has a full disk, hears of it there."""

    def call_quietly() -> None:
        with suppress(Exception):
            call()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    gc.disable()  # between its compilations, too
    console.command_line = False
    _beside.clear()
    # Not in the main thread, which would note an interrupt until the loop is compiled.
    worker = threading.Thread(target=call_quietly)
    worker.start()
    worker.join()


def _compiles_beside(kernel: Any) -> bool:
    """Tell whether another process is at a kernel."""
    return kernel in _beside and _beside[kernel].is_alive()


def inlined(function: F) -> F:
    """Compile a function into each kernel that uses it.

    It is for short loops, where a call would cost as much as the work.
    """
    return numba.njit(inline="always")(function)  # type: ignore[no-any-return]


class _Compilations(event.Listener):  # type: ignore[misc]
    """Measures how long compiling takes, and tells the user of the command line, once, of it."""

    seconds = 0.0  # of all that is done, reading and writing the cache included

    def __init__(self) -> None:
        self._begun: list[float] = []
        self._noting = ExitStack()
        self._interrupt: threading.Event
        self._collects = False

    def begin(self) -> None:
        """Begin what `working_time_s` leaves out; it may hold others of its kind.

        Ctrl-C waits for its end: LLVM calls Python, where an interrupt would be lost, and numba
        would then miss what LLVM made.
        """
        if not self._begun:
            self._interrupt = self._noting.enter_context(note_interrupts())
            self._collects = gc.isenabled()
            gc.disable()  # a tenth less time (measured)
        self._begun.append(perf_counter())

    def end(self) -> None:
        """End what was begun last."""
        begun = self._begun.pop()
        if self._begun:  # kernels compile the kernels that they call
            return
        self.seconds += perf_counter() - begun
        if self._collects:
            gc.enable()
        self._noting.close()
        if self._interrupt.is_set():
            signal.raise_signal(signal.SIGINT)  # for whoever handles it now

    def on_start(self, about: Any) -> None:
        self.begin()
        if console.command_line:
            console.command_line = False  # once
            keeps = not isinstance(about.data["dispatcher"]._cache, NullCache)
            console.note(
                "Compiling inner loops that no command has needed here before: about ten seconds,"
                " once ..."
                if keeps
                else "Compiling the inner loops, with every command: no folder for caches can be"
                " written; set NUMBA_CACHE_DIR to one that can ..."
            )

    def on_end(self, _: Any) -> None:
        self.end()


_compilations = _Compilations()
event.register("numba:compile", _compilations)


def working_time_s() -> float:
    """Read a clock for intervals that stands still while kernels are compiled or read."""
    return perf_counter() - _compilations.seconds
