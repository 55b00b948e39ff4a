"""Ctrl-C at moments that must not break off."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def note_interrupts() -> Iterator[threading.Event]:
    """Note the first Ctrl-C or SIGTERM instead of breaking off within a step. A second one breaks
    off.
    """
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted  # only the main thread may handle signals
        return

    def note(*_: object) -> None:
        noted.set()
        restore()

    def restore() -> None:
        for sign, handler in before.items():
            signal.signal(sign, handler)

    before = {sign: signal.signal(sign, note) for sign in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        restore()
