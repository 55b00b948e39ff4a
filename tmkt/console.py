"""Output of the command line: tables and JSON on standard output, all else on standard error.

The tables of each subject are in tmkt/cli/tables.
"""

import codecs
import json
import math
import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TextIO

from tmkt.pace import Pace

Progress = Callable[..., None]
SPELT_OUT = "tmkt-spelt-out"  # name of the handler of letters that an output cannot show
ASCII = {"µ": "u", "–": "-", "—": "-", "…": "...", "×": "x", "±": "+-", "✓": "ok", "✗": "no"}
UNITS = {"J": 1.0, "mJ": 1e-3, "µJ": 1e-6, "nJ": 1e-9, "pJ": 1e-12}
USUAL_WIDTH = 80  # columns of a terminal that does not tell
quiet = False  # results and errors only
command_line = False  # True where people read the notes: set by the command line
# What a terminal obeys instead of showing it: control characters, and marks that turn text around.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Escape control characters, as in "\\x1b": names of files and classes may hold any."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _spell_out(error: UnicodeError) -> tuple[str, int]:
    """Spell what a terminal or file cannot show: "175 uJ" for "175 µJ" in ASCII."""
    assert isinstance(error, UnicodeEncodeError)
    letters = error.object[error.start : error.end]
    shown = "".join(
        ASCII.get(letter) or letter.encode("ascii", "backslashreplace").decode()
        for letter in letters
    )
    return shown, error.end


codecs.register_error(SPELT_OUT, _spell_out)


def error(message: str) -> None:
    """Print an error as one line on standard error."""
    print(f"tmkt: {printable(' '.join(message.split()))}", file=sys.stderr)


def note(message: str, command: str = "") -> None:
    """Print a line for people on standard error, unless they asked for quiet.

    On a terminal it is wrapped between words, but not `command`, which ends it: people copy it.
    """
    if quiet:
        return
    text, typed = printable(message), printable(command)
    wide = terminal_width(sys.stderr)
    if typed and (wide is None or len(text) + 1 + len(typed) <= wide):
        text, typed = f"{text} {typed}", ""
    lines = [*wrapped(text, 2, wide), *([f"  {typed}"] if typed else [])]
    print("\n".join(lines), file=sys.stderr, flush=True)


def say(line: str, indent: int = 0) -> None:
    """Print a line of a result on standard output, wrapped between words on a terminal.

    `indent`: blanks before the line; lines that continue it have two more.
    """
    text = " " * indent + printable(line)
    begin = len(text) - len(text.lstrip())
    for part in wrapped(text, begin + 2, terminal_width(sys.stdout)):
        say_as_it_is(part)


def say_as_it_is(line: str) -> None:
    """Print a line on standard output that is not to be wrapped, and printable already."""
    print(line, flush=True)


def wrapped(text: str, hanging: int, wide: int | None) -> list[str]:
    """Break text between words where the terminal ends; not where nobody looks at one."""
    if wide is None or len(text) <= wide:
        return [text]
    return textwrap.wrap(
        text,
        wide,
        subsequent_indent=" " * hanging,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def emit_json(report: dict[str, Any], indent: int | None = 1) -> None:
    """Print a JSON object on standard output; in one line if `indent` is None."""
    text = json.dumps(report, indent=indent)  # which escapes all but ASCII
    print(text.replace("\x7f", "\\u007f"), flush=True)


def terminal_width(output: TextIO | None = None) -> int | None:
    """Return the columns of the terminal that `output` [standard output] is shown on; None where
    there is none.

    $COLUMNS decides where it is set.
    """
    output = output or sys.stdout
    if os.environ.get("COLUMNS", "").isdigit():
        return shutil.get_terminal_size().columns
    if not output.isatty():
        return None
    with suppress(OSError):
        return os.get_terminal_size(output.fileno()).columns or USUAL_WIDTH
    return USUAL_WIDTH


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """Yield a function (done, total, figures, left_s) that draws a bar with rate and time left.

    `left_s`: for work whose units take unequally long; infinite: not known yet. Without a terminal
    it prints a line every 10 seconds.
    """
    if quiet:
        yield lambda *_: None
        return
    if sys.stderr.isatty():
        yield from _bar(what)
        return
    pace, last = Pace(), time.monotonic()

    def line(
        done: int,
        total: int,
        figures: dict[str, float] | None = None,
        left_s: float | None = None,
    ) -> None:
        nonlocal last
        pace.report(done)
        now = time.monotonic()
        if done and now - last >= 10:
            last = now
            left = pace.left_s(total) if left_s is None else left_s
            rest = "" if left in (None, math.inf) else f", {duration(left)} left"
            shown = "".join(
                f", {key} {significant(value)}" for key, value in (figures or {}).items()
            )
            note(f"{what}: {done}/{total}{rest}{shown}")

    yield line


def _bar(what: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[rest]}"),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None, rest="")
        pace = Pace()

        def update(
            done: int,
            total: int,
            figures: dict[str, float] | None = None,
            left_s: float | None = None,
        ) -> None:
            pace.report(done)
            each, left = pace.per_unit_s, pace.left_s(total) if left_s is None else left_s
            parts = [] if not left or left == math.inf else [f"{duration(left)} left"]
            if each and left_s is None:
                parts.append(f"{1 / each:.1f}/s")
            parts += [f"{key} {significant(value)}" for key, value in (figures or {}).items()]
            bar.update(task, completed=done, total=total, rest=", ".join(parts))

        yield update


@contextmanager
def late_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function (done, total) that draws a bar from its first call on: none where all comes
    from a cache.
    """
    with ExitStack() as shown:
        bars: list[Progress] = []

        def update(done: int, total: int) -> None:
            if not bars:
                bars.append(shown.enter_context(progress(what)))
            bars[0](done, total, None)

        yield update


def duration(seconds: float) -> str:
    """Format a time: "12 s", "3 min", "2.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def percent(
    share: float | None, interval: tuple[float, float] | list[float] | None = None
) -> str | None:
    """Format a share of one and its interval: "91.3 % (88.4-93.5)"."""
    if share is None:
        return None
    text = f"{round(100 * share, 1) + 0.0:.1f} %"  # + 0.0 turns -0.0 into 0.0
    return text if interval is None else f"{text} ({100 * interval[0]:.1f}-{100 * interval[1]:.1f})"


def significant(value: float, digits: int = 3) -> str:
    """Format with so many significant digits, large numbers in full: "0.0123", "1.2", "1,950"."""
    shown = f"{value:.{digits}g}"
    return f"{value:,.0f}" if abs(float(shown)) >= 10 ** (digits - 1) else shown


def joules(value: float | None) -> str | None:
    """Format joules with a prefix and three digits: "175 µJ"."""
    if value is None:
        return None
    unit = next((unit for unit, factor in UNITS.items() if value >= factor), "pJ")
    return f"{significant(value / UNITS[unit])} {unit}"


def joules_with_interval(figures: dict[str, Any]) -> str:
    """Format an energy {energy_j, low_j, high_j} in one unit: "172 µJ (168-1,950)"."""
    shown = str(joules(figures["energy_j"]))
    unit = shown.split()[1]
    low, high = (significant(figures[key] / UNITS[unit]) for key in ("low_j", "high_j"))
    return f"{shown} ({low}-{high})"


def watts(value: float | None) -> str | None:
    """Format watts with a prefix and three digits: "15 mW"."""
    shown = joules(value)
    return None if shown is None else shown[:-1] + "W"
