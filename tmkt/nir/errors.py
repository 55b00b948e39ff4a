"""Errors about a node of a NIR graph."""

from tmkt.errors import InputError


def kind(thing: object) -> str:
    """Name a thing's type with its article: "an IF", "a LIF"."""
    name = type(thing).__name__
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def refuse(name: str, found: object, expected: str, way_out: str) -> InputError:
    """Make the error for a node that cannot be read, or that no program can hold."""
    return InputError(f"NIR graph, node {name!r}: {found}, expected {expected}; {way_out}")


def require(
    ok: bool, name: str, found: object, expected: str, way_out: str = "correct the graph"
) -> None:
    """Raise `refuse(...)` unless `ok`."""
    if not ok:
        raise refuse(name, f"found {found}", expected, way_out)
