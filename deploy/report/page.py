"""Report as one HTML file: no server, no network, at most 5 MB."""

import json
import shlex
from math import prod
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tmkt.console import joules, percent
from tmkt.deploy.parity.verdict import verdicts
from tmkt.deploy.report import plots, quantisation
from tmkt.deploy.report.table import count
from tmkt.deploy.report.tables import divergence, tables
from tmkt.deploy.report.training import metric
from tmkt.files import writing

# Bytes of the report's JSON in the page. A larger one (thousands of classes or steps) is left to
# --json.
MOST_EMBEDDED = 1_000_000


def environment() -> Environment:
    """Make the templates' environment: it escapes text and fails on unknown names."""
    env = Environment(
        loader=PackageLoader("tmkt.deploy.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "count": count,
        "product": prod,
        "joules": joules,
        "percent": percent,
        "metric": metric,
        "embedded": embedded,
        "quoted": shlex.quote,
    }
    env.globals |= {
        "plots": plots,
        "energy_rows": energy_rows,
        "divergence": divergence,
        "quantisation": quantisation,
        "verdicts": verdicts,
    }
    return env


def embedded(value: Any) -> Markup:
    """Format JSON for a script element, so that no text in it can end the element."""
    return Markup(
        json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    )


def energy_rows(*reports: dict[str, Any]) -> list[tuple[str, list[dict[str, float]]]]:
    """Make the rows of `plots.intervals`: a row per estimator, a figure per report that has it."""
    names = dict.fromkeys(
        (e["estimator"], e["device"]) for report in reports for e in report["estimates"]
    )
    found = [
        [
            e
            for report in reports
            for e in report["estimates"]
            if (e["estimator"], e["device"]) == name
        ]
        for name in names
    ]
    return [
        (f"{estimator} ({device})", figures)
        for (estimator, device), figures in zip(names, found, strict=True)
    ]


def write_page(path: Path, report: dict[str, Any], player: dict[str, Any] | None) -> None:
    """Write the page of a report; `player` is what `samples.pack_samples` returns.

    InputError where the disk refuses.
    """
    shown = {
        "report": report,
        "tables": tables(report),
        "player": player,
        "embed": len(json.dumps(report)) <= MOST_EMBEDDED,
    }
    write(path, "report.html", shown)


def write(path: Path, template: str, values: dict[str, Any]) -> None:
    """Write a template's page. The same values give the same bytes."""
    text = environment().get_template(template).render(values)
    with writing(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")
