"""Widths of a table's columns in so many characters: no word is broken.

What does not fit is left out, column by column, or the rows are stacked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

BETWEEN = 3  # characters between two columns: " | "
FEWEST = 12  # characters that a column of words keeps, so that it is no ribbon of single words
Cells = Sequence[str]


@dataclass(frozen=True)
class Layout:
    """Columns that are shown (their indices) and their widths; columns that are left out.

    Without `shown`, no layout has whole words: rows are stacked.
    """

    shown: tuple[int, ...]
    widths: tuple[int, ...]
    left_out: tuple[int, ...] = ()


def lay_out(
    columns: Cells, rows: Sequence[Cells], numeric: Sequence[bool], width: int, least: Sequence[int]
) -> Layout:
    """Choose the widths of columns; `least`: those that may be left out, the first one first.

    Cells of numeric columns stay on one line, their headings may have several.
    """
    for count in range(len(least) + 1):
        left_out = tuple(sorted(least[:count]))
        shown = tuple(i for i in range(len(columns)) if i not in left_out)
        room = width - BETWEEN * (len(shown) - 1)
        fewest, natural = [], []
        for i in shown:
            cells = [row[i] for row in rows]
            widest = max(map(_length, [*cells, columns[i]]))
            natural.append(widest)
            enough = max(map(_length, cells), default=0) if numeric[i] else min(widest, FEWEST)
            fewest.append(max(enough, *map(_longest_word, [*cells, columns[i]])))
        if sum(fewest) <= room:
            return Layout(shown, _share(fewest, natural, room), left_out)
    return Layout((), ())


def _share(fewest: list[int], natural: list[int], room: int) -> tuple[int, ...]:
    """Give the room beyond the least widths to the columns that need little of it first."""
    widths, spare = list(fewest), room - sum(fewest)
    for i in sorted(range(len(widths)), key=lambda i: natural[i] - fewest[i]):
        more = min(natural[i] - fewest[i], spare)
        widths[i] += more
        spare -= more
    return tuple(widths)


def _length(text: str) -> int:
    """Count the terminal's cells: letters of some languages take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _longest_word(text: str) -> int:
    return max(map(_length, text.split()), default=0)
