"""The error that a user can mend."""


class InputError(Exception):
    """Wrong use or bad input. One line: the object, what was found, what was expected, what to do.

    The command line prints it and exits with 2; it never shows a traceback.
    """


def nearest(name: str, known: list[str]) -> str:
    """Gives "; did you mean 'x'?" for the known name nearest to a misspelt one, else an empty string."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
