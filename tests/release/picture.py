"""Makes the README's picture, docs/player.gif: the player of the report that `tmkt demo --quick`
writes, step by step.

tmkt demo --quick
python tests/release/picture.py demo-quick/report.html

Needs Chromium (make browser).
"""

import argparse
import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

PICTURE = Path(__file__).parents[2] / "docs" / "player.gif"
RECORDING = 2  # of those that the report shows: a 5
WIDTH, HEIGHT = 860, 1400
LAYER = "1"  # conv2: its channels are large enough to be seen
STEP_MS, LAST_MS = 350, 2500


def frames(page: Page) -> list[Image.Image]:
    """Take a picture of events, spikes and read-out after each step of the network."""
    page.locator(".sample").nth(RECORDING).click()
    page.locator("#layer").select_option(LAYER)
    end = int(page.evaluate("end"))
    step = int(page.evaluate("bin"))
    top = page.locator("#says").bounding_box()
    bottom = page.locator("#readout").bounding_box()
    assert top
    assert bottom
    clip = {"x": 0.0, "y": top["y"], "width": float(WIDTH)}
    clip["height"] = bottom["y"] + bottom["height"] + 8 - top["y"]
    shown = []
    for now in range(step, end + 1, step):
        page.evaluate("now => seek(now)", now)
        picture = Image.open(io.BytesIO(page.screenshot(clip=clip, full_page=True)))
        shown.append(picture.convert("RGB").quantize(64, dither=Image.Dither.NONE))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="the page of tmkt demo --quick")
    report = parser.parse_args().report.resolve()
    chromium = shutil.which("chromium-headless-shell") or sys.exit("no Chromium; run: make browser")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(report.as_uri())
        page.wait_for_selector("[data-ready]", state="attached")
        first, *others = frames(page)
        browser.close()
    times = [STEP_MS] * len(others) + [LAST_MS]
    first.save(PICTURE, save_all=True, append_images=others, duration=times, loop=0)
    print(f"{PICTURE}: {len(times)} steps, {PICTURE.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
