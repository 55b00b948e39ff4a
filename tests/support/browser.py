"""A real headless Chromium, which `make browser` installs."""

import os
import shutil

import pytest

NAMES = ("chromium-headless-shell", "chromium", "google-chrome", "chromium-browser")
OPTIONS = ["--no-sandbox"]  # Chromium refuses to start as root without it


def chromium() -> str:
    """Its path, which TMKT_CHROMIUM may name. Skips the test where there is none; fails it where
    TMKT_REQUIRE_BROWSER is set, as in CI.
    """
    for name in (os.environ.get("TMKT_CHROMIUM", ""), *NAMES):
        if name and (found := shutil.which(name)):
            return found
    message = "no Chromium: make browser"
    raise (pytest.fail if os.environ.get("TMKT_REQUIRE_BROWSER") else pytest.skip).Exception(
        message
    )
