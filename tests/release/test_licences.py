"""The base installation brings no copyleft, and docs/licences.md lists what is installed."""

import sys

import pytest
from licences import PAGE, Package, extras, page


def test_the_base_installation_brings_no_copyleft() -> None:
    base = extras()[""]
    assert base is not None
    assert {"numpy", "numba", "onnxruntime", "pydantic-core"} <= set(base)
    assert not [package for package in base.values() if package.copyleft]
    unclear = ("not stated", "unknown (file)")
    assert not [package for package in base.values() if package.licence in unclear]


@pytest.mark.parametrize(
    ("licence", "copyleft"),
    [
        ("MIT", ""),
        ("Apache-2.0 WITH LLVM-exception", ""),
        ("GPL-3.0-only", "yes"),
        ("AGPL-3.0", "yes"),
        ("BSD AND LGPL-2.1-or-later", "weak"),
        ("MPL-2.0 AND MIT", "weak"),
        ("LGPL-2.1-or-later AND GPL-2.0", "yes"),
        ("GPL-2.0 OR MIT", ""),
        ("GPL (file)", "yes"),
    ],
)
def test_copyleft_is_known_by_name(licence: str, copyleft: str) -> None:
    assert Package("some", "1", licence).copyleft == copyleft


@pytest.mark.skipif(
    sys.platform != "linux" or sys.version_info[:2] != (3, 11),
    reason="the page lists what Python 3.11 on Linux installs",
)
def test_the_page_lists_what_is_installed() -> None:
    again = "run: python tests/release/licences.py"
    assert PAGE.read_text(encoding="utf-8") == page(), again
