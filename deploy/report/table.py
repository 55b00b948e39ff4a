"""Table of a page, and how its cells are written."""

import re
from dataclasses import dataclass

WIDE = 40  # characters
DASH = "–"


@dataclass(frozen=True)
class Table:
    """Rows of text under columns."""

    id: str
    columns: list[str]
    rows: list[list[str]]

    def kind(self, column: int) -> str:
        """Return the style of a column.

        "figure" for a column without words, which is aligned right; "wide" for one of long text,
        which wraps; else "".
        """
        cells = [row[column] for row in self.rows]
        if any(len(cell) > WIDE for cell in cells):
            return "wide"
        return "" if any(re.search(r"[^\W\d_]{3}", cell) for cell in cells) else "figure"


def count(value: float | None) -> str:
    """Format a number of things: whole, with commas."""
    return DASH if value is None else f"{value:,.0f}"
