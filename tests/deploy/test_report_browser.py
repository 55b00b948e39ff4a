"""Report in a real browser: it loads clean, its player moves, its tables hold the JSON's figures,
on a phone and in the dark, too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import OPTIONS, chromium

playwright = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium(), args=OPTIONS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def made(
    tmkt: Any, pipeline: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("report") / "report.html"
    done = tmkt(
        "report", pipeline.run, "--data", pipeline.data, "--limit", 20, "--out", out, "--json"
    )
    assert done.code == 0, done.err
    return out, done.json


@contextmanager
def opened(browser: Any, path: Path, **context: Any) -> Iterator[Any]:
    """Open the page and wait until it is ready; fail at the end for any console message, error, or
    request that leaves the page.
    """
    bad: list[str] = []
    context = {"viewport": {"width": 1200, "height": 900}, **context}
    with browser.new_context(offline=True, **context) as kept:
        page = kept.new_page()
        page.on(
            "console",
            lambda message: (
                bad.append(message.text) if message.type in ("error", "warning") else None
            ),
        )
        page.on("pageerror", lambda error: bad.append(str(error)))
        page.on(
            "request",
            lambda request: (
                bad.append(request.url)
                if not request.url.startswith(("file:", "data:", "blob:"))
                else None
            ),
        )
        page.goto(path.as_uri())
        if page.locator("#player").count():
            page.wait_for_selector("#player[data-ready=yes]")
        yield page
    assert bad == []


def cells(page: Any, table: str) -> list[list[str]]:
    found: list[list[str]] = page.eval_on_selector_all(
        f"#{table} tbody tr",
        "rows => rows.map(row => [...row.children].map(cell => cell.textContent))",
    )
    return found


def test_tables_hold_the_figures_of_the_json(
    browser: Any, made: tuple[Path, dict[str, Any]]
) -> None:
    path, report = made
    with opened(browser, path) as page:
        matrix = cells(page, "confusion")
        assert [[int(n) for n in row[1:]] for row in matrix] == report["evaluation"]["confusion"]
        low, high = report["evaluation"]["accuracy_ci95"]
        shown = f"{100 * report['evaluation']['accuracy']:.1f} % ({100 * low:.1f}-{100 * high:.1f})"
        assert cells(page, "evaluation")[1] == ["accuracy (95 % interval)", shown]
        for row, layer, rate in zip(
            cells(page, "layers"), report["network"], report["rates"], strict=True
        ):
            assert row[0] == layer["name"]
            assert row[4] == f"{layer['weights']:,}"
            assert row[6] == (f"{100 * rate['rate']:.1f} %" if layer["fires"] else "–")
        for row, engine in zip(cells(page, "parity"), report["parity"][0]["engines"], strict=True):
            assert (row[0], row[7]) == (engine["name"], f"{engine['spike_mismatches']:,}")
        for row, e in zip(cells(page, "energy"), report["energy"]["estimates"], strict=True):
            number, unit = row[2].split()
            factor = {"J": 1, "mJ": 1e-3, "µJ": 1e-6, "nJ": 1e-9, "pJ": 1e-12}[unit]
            assert row[0] == e["estimator"]
            assert float(number) * factor == pytest.approx(e["energy_j"], rel=0.01)
        for row, layer in zip(cells(page, "cores-loihi2"), report["fit"][1]["layers"], strict=True):
            assert row[1:3] == [layer["name"], str(layer["cores"])]
        for row, entry in zip(cells(page, "quantisation"), report["quantisation"], strict=True):
            assert row[0] == entry["layer"]
            assert row[1:3] == [str(entry["bits"]), str(entry["scale"])]
        assert (
            page.evaluate(
                "JSON.parse(document.getElementById('report-data').textContent).evaluation.samples"
            )
            == 20
        )


def test_the_slider_moves_events_spikes_and_decision(
    browser: Any, made: tuple[Path, dict[str, Any]]
) -> None:
    path, report = made
    with opened(browser, path) as page:
        before = {
            name: page.locator(f"#{name}").screenshot() for name in ("sensor", "spikes", "readout")
        }
        said = page.locator("#says").text_content()
        page.locator("#time").focus()
        page.keyboard.press("ArrowRight")
        for name, picture in before.items():
            assert page.locator(f"#{name}").screenshot() != picture, name
        assert page.locator("#says").text_content() != said
        page.keyboard.press("End")
        answer = report["samples"][0]
        assert f"the answer: {answer['prediction']}" in page.locator("#says").text_content()
        assert f"(recorded: {answer['label']})" in page.locator("#says").text_content()
        page.keyboard.press("Home")
        assert "no answer yet" in page.locator("#says").text_content()
        page.locator("#time").fill(str(report["input"]["bin_us"]))
        assert "step 1 of 10" in page.locator("#says").text_content()


def test_the_counts_shown_are_those_of_the_simulator(
    browser: Any, pipeline: Any, made: tuple[Path, dict[str, Any]]
) -> None:
    from tmkt.bundle import load
    from tmkt.datasets.reading import load_frames, read_recording
    from tmkt.datasets.registry import dataset
    from tmkt.program.simulator.simulator import Simulator

    bundle, index, step = load(pipeline.bundle), 2, 4
    name = made[1]["samples"][index]["recording"]
    (recording,) = [
        r
        for r in dataset("digits").find_recordings(pipeline.data)
        if "/".join(r.path.parts[-3:]) == name
    ]
    spikes = Simulator(bundle.program).run(load_frames([recording], bundle.contract)[0]).spikes
    events, bin_us = read_recording(recording, bundle.contract.sensor), bundle.contract.bin_us
    now = events.t - events.t[0]
    with opened(browser, made[0]) as page:
        page.locator(".sample").nth(index).click()
        page.locator("#time").fill(str(step * bin_us))
        for i, layer in enumerate([layer for layer in bundle.program.layers if layer.fires]):
            page.locator("#layer").select_option(str(i))
            assert page.locator("#player").get_attribute("data-spikes") == str(
                np.count_nonzero(spikes[layer.name][0, step - 1])
            ), layer.name
        seen = np.count_nonzero((now > (step - 1) * bin_us) & (now <= step * bin_us))
        assert page.locator("#player").get_attribute("data-events") == str(seen)


def test_it_plays_and_pauses_by_keyboard_alone(
    browser: Any, made: tuple[Path, dict[str, Any]]
) -> None:
    with opened(browser, made[0]) as page:
        for _ in range(200):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == "time":
                break
        page.keyboard.press("Home")
        page.keyboard.press(" ")
        for _ in range(200):
            if int(page.locator("#time").input_value()) > 0:
                break
            page.wait_for_timeout(20)
        assert int(page.locator("#time").input_value()) > 0
        page.keyboard.press(" ")
        assert page.locator("#play").text_content() == "Play"
        assert page.evaluate("document.querySelectorAll(':focus-visible').length") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(
    browser: Any, made: tuple[Path, dict[str, Any]], scheme: str
) -> None:
    with opened(
        browser, made[0], color_scheme=scheme, viewport={"width": 390, "height": 800}
    ) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        shown = page.evaluate("getComputedStyle(document.body).backgroundColor")
        red = int(shown.split("(")[1].split(",")[0])
        assert red < 60 if scheme == "dark" else red > 200
        assert page.locator("#sensor").bounding_box()["width"] > 300


def test_two_runs_are_compared_over_the_same_recordings(
    browser: Any, tmkt: Any, pipeline: Any, tmp_path: Path
) -> None:
    assert tmkt("export", pipeline.run, "--bits", 3, "--out", tmp_path / "coarse").code == 0
    options = ("--data", pipeline.data, "--limit", 20, "--out", tmp_path / "both.html", "--json")
    done = tmkt("report", pipeline.run, tmp_path / "coarse", *options)
    assert done.code == 0, done.err
    sides = [done.json[side]["evaluation"]["accuracy"] for side in ("first", "second")]
    only = done.json["accuracy"]
    assert only["only_first"] - only["only_second"] == round(20 * (sides[0] - sides[1]))
    with opened(browser, tmp_path / "both.html", viewport={"width": 390, "height": 800}) as page:
        row = next(row for row in cells(page, "figures") if row[0].startswith("accuracy (95"))
        assert [cell.split(" %")[0] for cell in row[1:]] == [
            f"{100 * accuracy:.1f}" for accuracy in sides
        ]
        assert [row[3] for row in cells(page, "energy")] == [
            f"{e['ratio']:.3g}" for e in done.json["energy"]
        ]
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
