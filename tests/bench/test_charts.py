"""The charts of docs/benchmarks.md are what make charts draws from docs/results."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

SCRIPT = Path(__file__).parent / "charts.py"
DOCS = Path(__file__).parents[2] / "docs"


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_charts_are_what_their_measurements_draw(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(SCRIPT), "--out", str(tmp_path)], check=True, timeout=120)
    old = "docs/charts is older than docs/results or tests/bench/charts.py: make charts"
    assert files(tmp_path) == files(DOCS / "charts"), old


def test_every_chart_is_a_picture_on_the_page() -> None:
    page = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    for name, content in files(DOCS / "charts").items():
        assert f"](charts/{name})" in page
        assert ElementTree.fromstring(content).tag.endswith("svg")


def test_the_numbers_behind_bars_end_on_their_chart() -> None:
    chart = ElementTree.fromstring((DOCS / "charts" / "speed.svg").read_text(encoding="utf-8"))
    shown = [one for one in chart.iter() if one.tag.endswith("text") and "to" in (one.text or "")]
    assert len(shown) > 10
    for one in shown:
        assert float(one.attrib["x"]) + 7.2 * len(one.text or "") < float(chart.attrib["width"])
