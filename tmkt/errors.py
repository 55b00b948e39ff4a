"""Errors that a user can mend."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import ValidationError


class InputError(Exception):
    """Wrong use or bad input. One line: the object, what was found, what was expected, what to do.

    The command line prints it and exits with 2; it never shows a traceback.
    """


class NotInstalled(InputError):
    """A missing package: what needs it, and how to install it."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(f"{what}; {hint}")
        self.hint = hint


class Unsaid(InputError):
    """An input that leaves something open, which an option has to say.

    `option`: its name; `example`: a value to try.
    """

    def __init__(self, message: str, option: str, example: str) -> None:
        super().__init__(message)
        self.option, self.example = option, example


class Diverged(InputError):
    """A training that diverged to NaN or Inf: the recipe's fault, not its data's."""


def cannot_read(path: "Path", error: OSError) -> InputError:
    """Make the error for a file that the system does not let us read: it may be whole."""
    found = error.strerror or one_line(error)
    return InputError(f"{path}: cannot be read ({found}); check its permissions and the disk")


def nearest(name: str, known: list[str]) -> str:
    """Suggest the known name nearest to a misspelt one: "; did you mean 'x'?", or "" for none."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def one_line(error: Exception, most: int = 80) -> str:
    """Shorten a library's error to one line of at most so many characters."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def explain(error: "ValidationError") -> str:
    """Describe the first fault of a file's content: its place, what was expected and found."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "content"
    return f"{where}: {first['msg']}, found {str(first['input'])[:60]!r}"
