"""Packages that commands need and that an extra of tmkt installs."""

from collections.abc import Iterator
from contextlib import contextmanager

from tmkt.errors import InputError
from tmkt.install import pip_install


@contextmanager
def needing(extra: str, command: str) -> Iterator[None]:
    """Raise InputError with what to install where an import in the block lacks a package."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(
            f"{command}: {error.name} is not installed; {pip_install(extra)}"
        ) from None
