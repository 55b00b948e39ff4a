"""TOML from strangers: what is read has a bounded size, depth and integers."""

import tomllib
from pathlib import Path
from typing import Any

from tmkt.errors import one_line
from tmkt.files import read_text

MAX_BYTES = 2**20  # a recipe has 2 kB
MAX_DEPTH = 16  # tables in tables; recipes have two, device files four
INTEGERS = range(-(2**63), 2**63)  # that TOML asks for (specification 1.0, "Integer")


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises ValueError, in one line, for text that is none (TOMLDecodeError, which is a ValueError),
    that is nested deeper than MAX_DEPTH, or holds integers of more than 64 bits.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from None
    except ValueError as error:  # integers of more than 4300 digits, dates that are none
        raise ValueError(one_line(error)) from None
    _check(values)
    return values


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of at most MAX_BYTES.

    Raises OSError as `read_text` does, ValueError as `parse_toml` does and for other bytes than
    UTF-8.
    """
    return parse_toml(read_text(path, MAX_BYTES))


def _check(values: Any) -> None:
    """Refuse depth and integers that would be errors further on; level by level."""
    level = [values]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += value.values()
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, int) and value not in INTEGERS:
                raise ValueError("an integer of more than 64 bits")
        level = inner
    if level:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
