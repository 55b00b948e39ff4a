"""Cut large maps into tiles, so that what each output sees need not be unrolled for all at once."""

from collections.abc import Iterator


def tiles(height: int, width: int, most: int) -> Iterator[tuple[slice, slice]]:
    """Yield the lines and columns of tiles of at most `most` places: whole lines if one fits."""
    columns = min(width, max(1, most))
    lines = max(1, most // columns)
    for y in range(0, height, lines):
        for x in range(0, width, columns):
            yield slice(y, min(y + lines, height)), slice(x, min(x + columns, width))
