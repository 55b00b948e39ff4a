"""Lines on what left the chip's ranges while a program ran, for terminal and page."""

from typing import Any

MEANINGS = {
    "current_wraps": "a current left its 24 bits and wrapped around",
    "membrane_clips": "a membrane hit its limit of 24 bits and was clipped",
    "readout_over_threshold": (
        "a read-out's membrane passed the threshold, where a chip's neuron would fire"
    ),
}


def describe_faults(faults: dict[str, int] | None) -> list[str]:
    """Say how often each thing happened that does not happen in a sound program; nothing if
    none did.
    """
    return [
        f"{n:,} times {MEANINGS[name]} ({name.replace('_', ' ')})"
        for name, n in (faults or {}).items()
        if n
    ]


def fault_rows(faults: dict[str, int] | None) -> list[list[Any]]:
    """Give rows of a table on what left the chip's ranges; none where an engine does not count."""
    if faults is None:
        return []
    found = describe_faults(faults) or ["never"]
    return [["beyond the chip's ranges" if i == 0 else "", line] for i, line in enumerate(found)]
