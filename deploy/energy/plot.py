"""The energy report as a picture: every estimate with its interval."""

from pathlib import Path
from typing import Any

import numpy as np

from tmkt.errors import InputError
from tmkt.files import writing

FORMATS = (".svg", ".png")
MICRO = 1e6
NOTE = (
    "Error bars: the interval of an estimator's assumptions. None includes host input and output;"
    " static power stands by itself."
)
INK, BAR, GRID = "#1f2328", "#1f6feb", "#d0d7de"


def check_plot(path: Path) -> None:
    """InputError for a name that is no picture's, or where matplotlib is not installed: before the
    work, not after.
    """
    if path.suffix not in FORMATS:
        raise InputError(
            f"{path}: a plot ending in {path.suffix!r}, expected {' or '.join(FORMATS)}; change the"
            " name"
        )
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise InputError(
            "--plot: matplotlib is not installed; run: pip install 'tmkt[plot]', or use --csv"
        ) from None


def write_plot(path: Path, report: dict[str, Any], title: str) -> None:
    """Draws the estimates of one inference on a logarithmic scale, and the central ones by layer
    and over the steps, intervals as error bars.

    The same report gives the same bytes. InputError where the disk refuses.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    estimates = report["estimates"]
    with matplotlib.rc_context(
        {
            "svg.hashsalt": "tmkt",
            "font.size": 9,
            "text.color": INK,
            "axes.edgecolor": GRID,
            "axes.labelcolor": INK,
        }
    ):
        figure = Figure(figsize=(11, 3.2 + 0.34 * len(estimates)), layout="constrained")
        FigureCanvasAgg(figure)
        top, bottom = np.ravel(
            np.asarray(figure.subfigures(2, 1, height_ratios=[1 + 0.34 * len(estimates), 2.6]))
        )
        _all(top.subplots(), estimates)
        left, right = bottom.subplots(1, 2)
        first = estimates[0]
        _bars(
            left,
            first["layers"],
            "name",
            f"{first['estimator']} by layer",
            rotate=len(first["layers"]) > 6,
        )
        _bars(right, first["steps"], "step", f"{first['estimator']} by step", rotate=False)
        figure.suptitle(
            f"{title}: energy of one inference, mean of {report['samples']} recordings", fontsize=11
        )
        figure.supxlabel(NOTE, fontsize=8)
        with writing(path) as beside:
            figure.savefig(
                beside,
                format=path.suffix[1:],
                dpi=150,
                metadata={"Date": None} if path.suffix == ".svg" else {"Software": None},
            )


def _errors(entries: list[dict[str, Any]]) -> list[list[float]]:
    """[2][n], in microjoules: below and above the central value."""
    return [[MICRO * abs(e["energy_j"] - e[end]) for e in entries] for end in ("low_j", "high_j")]


def _all(axes: Any, estimates: list[dict[str, Any]]) -> None:
    at = range(len(estimates))
    axes.errorbar(
        [MICRO * e["energy_j"] for e in estimates],
        at,
        xerr=_errors(estimates),
        fmt="o",
        color=BAR,
        ecolor=BAR,
        elinewidth=2,
        capsize=4,
    )
    axes.set_yticks(at, [f"{e['estimator']} ({e['device']})" for e in estimates])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("µJ an inference, logarithmic")
    _plain(axes, "x")


def _bars(axes: Any, entries: list[dict[str, Any]], key: str, title: str, rotate: bool) -> None:
    at = range(len(entries))
    axes.bar(
        at,
        [MICRO * e["energy_j"] for e in entries],
        yerr=_errors(entries),
        color=BAR,
        ecolor=INK,
        capsize=3,
        width=0.7,
    )
    axes.set_xticks(at, [str(e[key]) for e in entries], rotation=45 if rotate else 0)
    if len(entries) > 20:
        axes.set_xticks(at[:: len(entries) // 10])
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_ylabel("µJ")
    _plain(axes, "y")


def _plain(axes: Any, grid: str) -> None:
    axes.grid(axis=grid, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
