"""Import of ONNX Runtime, which then neither reports home nor prints by itself."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

NEVER = 4  # of its severities: what is fatal


@lru_cache(maxsize=1)
def import_runtime() -> Any:
    """Import onnxruntime with its telemetry off, and without what it prints.

    Since 1.29 its Linux builds send what they run to Microsoft, unless this variable is set before
    the import. While it is imported it looks for devices and prints coloured warnings about those
    that it cannot look at; nothing else stops these.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    with _standard_error_closed():
        import onnxruntime

        onnxruntime.set_default_logger_severity(NEVER)
    onnxruntime.disable_telemetry_events()
    return onnxruntime


@contextmanager
def _standard_error_closed() -> Iterator[None]:
    """Let what libraries write to standard error get lost, also from C++."""
    try:
        kept = os.dup(2)
    except OSError:  # there is none
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
