"""A table on standard output, as wide as the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tmkt.cli.tables.layout import Layout, lay_out
from tmkt.console import printable, say, say_as_it_is, terminal_width

if TYPE_CHECKING:
    from rich.console import Group, JustifyMethod
    from rich.table import Table

WIDE = 160  # columns where there is no terminal


def table(
    title: str, columns: list[str], rows: list[list[object]], least: Sequence[str] = ()
) -> None:
    """Print a table on standard output: numbers aligned right, None as a dash, no word broken.

    Where it is too wide, columns of `least` are left out, the first one first; where that does not
    do, each row becomes a block of lines.
    """
    from rich.console import Console

    headings, cells, numeric = _texts(columns, rows)
    out = Console(width=terminal_width() or WIDE, highlight=False, markup=False)
    say(title)
    order = [columns.index(column) for column in least if column in columns]
    layout = lay_out(headings, cells, numeric, out.width, order)
    if not layout.shown:
        _stack(headings, cells)
        return
    with out.capture() as shown:
        out.print(_box(headings, cells, numeric, layout))
    for line in shown.get().splitlines():
        say_as_it_is(line.rstrip())
    if layout.left_out:
        names = ", ".join(headings[i] for i in layout.left_out)
        say(f"Left out for want of room, see --json: {names}")
    say("")


def live_table(
    title: str, columns: list[str], rows: list[list[str]], least: Sequence[str]
) -> "Group":
    """Make a table of numbers that a terminal redraws, without those columns of `least` for which
    there is no room.
    """
    from rich.console import Group
    from rich.text import Text

    headings = [printable(column) for column in columns]
    cells = [[printable(cell) for cell in row] for row in rows]
    numeric = [True] * len(columns)
    order = [columns.index(column) for column in least]
    layout = lay_out(headings, cells, numeric, terminal_width() or WIDE, order)
    return Group(Text(printable(title)), _box(headings, cells, numeric, layout))


def fits(columns: list[str], rows: list[list[object]]) -> bool:
    """Say if a table has room for all of its columns."""
    return bool(lay_out(*_texts(columns, rows), terminal_width() or WIDE, []).shown)


def _texts(
    columns: list[str], rows: list[list[object]]
) -> tuple[list[str], list[list[str]], list[bool]]:
    """Give the headings and cells as they are printed, and which columns are numeric."""
    headings = [printable(column) for column in columns]
    cells = [["-" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    numeric = [_is_numeric([row[i] for row in rows]) for i in range(len(columns))]
    return headings, cells, numeric


def _is_numeric(cells: list[object]) -> bool:
    return all(
        cell is None or isinstance(cell, int | float) or str(cell).lstrip("-")[:1].isdigit()
        for cell in cells
    )


def _box(
    headings: list[str], cells: list[list[str]], numeric: list[bool], layout: Layout
) -> "Table":
    from rich.table import Table
    from rich.text import Text

    box = Table(show_edge=False, pad_edge=False)
    for i, wide in zip(layout.shown, layout.widths, strict=True):
        justify: JustifyMethod = "right" if numeric[i] else "left"
        box.add_column(Text(headings[i]), justify=justify, width=wide, overflow="fold")
    for row in cells:
        # Text, so that the brackets of "tmkt[lava]" are no markup
        box.add_row(*(Text(row[i]) for i in layout.shown))
    return box


def _stack(headings: list[str], cells: list[list[str]]) -> None:
    """Print each row as a block: its first cell, then a line a column that has a value."""
    for row in cells:
        say(row[0])
        for heading, cell in zip(headings[1:], row[1:], strict=True):
            if cell != "-":
                say(f"{heading}: {cell}", indent=2)
    say("")
