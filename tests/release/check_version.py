"""Checks that a release's tag, the package, the changelog and CITATION.cff name one version.

python tests/release/check_version.py v0.2.0
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAID = {
    "tmkt/__init__.py": r'^__version__ = "(.*)"$',
    "CITATION.cff": r"^version: (.*)$",
    "CHANGELOG.md": r"^## ([\d.]+)",
}


def versions() -> dict[str, str | None]:
    """Read the newest version that each file names; None where it names none."""
    found = {name: re.search(p, (ROOT / name).read_text("utf-8"), re.M) for name, p in SAID.items()}
    return {name: match and match[1] for name, match in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tag", help="the tag, as in v0.2.0")
    tag = parser.parse_args().tag
    wrong = [f"{name} says {said}" for name, said in versions().items() if f"v{said}" != tag]
    if "(unreleased)" in (ROOT / "CHANGELOG.md").read_text("utf-8"):
        wrong.append("CHANGELOG.md says (unreleased)")
    if wrong:
        sys.exit(f"tag {tag}: {', '.join(wrong)}; expected one version everywhere")


if __name__ == "__main__":
    main()
