"""Lists the packages that each extra brings, with their licences, from what is installed here.

python tests/release/licences.py

It writes the tables of docs/licences.md; the text above them stays. Run it in the environment of
make setup: each package's own metadata say its licence. Versions are
those of constraints.txt. The extra `test` is left out: no user installs it.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LAVA = ("lava-nc", "lava-dl")  # of the extra lava, installed without their own requirements
STRONG = re.compile(r"\b(A?GPL|EUPL)", re.I)
COPYLEFT = re.compile(rf"{STRONG.pattern}|\b(LGPL|MPL|EPL|CDDL)", re.I)
# By the titles of licences that metadata and files spell out
TITLES = {
    "Apache Software License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "BSD License": "BSD",
    "BSD 3-Clause License": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "GNU General Public License (GPL)": "GPL",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.1-or-later",
    "GNU GENERAL PUBLIC LICENSE": "GPL",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "The MIT License (MIT)": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Mozilla Public License Version 2.0": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "Apache License": "Apache-2.0",
    "Permission is hereby granted, free of charge, to any person obtaining a": "MIT",
}

PAGE = ROOT / "docs" / "licences.md"
FIRST = "## Base installation"


@dataclass(frozen=True)
class Package:
    """An installed package: name and version, and the licence that it states."""

    name: str
    version: str
    licence: str

    @property
    def copyleft(self) -> str:
        """Say "yes", "weak" (linking is free) or nothing."""
        if any(not COPYLEFT.search(choice) for choice in self.licence.split(" OR ")):
            return ""
        return "yes" if STRONG.search(self.licence) else "weak"


def licence_of(found: Distribution) -> str:
    """Read a package's licence: its SPDX expression, else its classifiers, else what its field
    `License` says in a line, else the title in its licence's file; "not stated" without any.
    """
    meta: Any = found.metadata
    if expression := meta.get("License-Expression"):
        return str(expression)
    classifiers = [
        line.rsplit(" :: ", 1)[1]
        for line in meta.get_all("Classifier") or []
        if line.startswith("License :: ") and "Proprietary" not in line
    ]
    if classifiers:
        return " AND ".join(TITLES.get(title, title) for title in classifiers)
    field = (meta.get("License") or "").strip()
    if field and "\n" not in field:
        return TITLES.get(field, field)
    for path in found.files or ():
        if re.match(r"(licen[cs]e|copying)", path.name, re.I):
            text = path.locate().read_text("utf-8", errors="replace")
            first = [line.strip() for line in text.splitlines() if line.strip()][:20]
            known = next((TITLES[line] for line in first if line in TITLES), None)
            return f"{known or 'unknown'} (file)"
    return "not stated"


def needed(requirements: list[str], extras: tuple[str, ...] = ("",)) -> dict[str, Package]:
    """Follow requirements through what is installed, by canonical name.

    Requirements whose markers do not hold here are left out. PackageNotFoundError names a package
    that is needed and not installed.
    """
    found: dict[str, Package] = {}
    todo = [(requirement, extras) for requirement in requirements]
    seen = set()
    while todo:
        text, active = todo.pop()
        requirement = Requirement(text)
        if requirement.marker and not any(
            requirement.marker.evaluate({"extra": extra}) for extra in active
        ):
            continue
        name = str(canonicalize_name(requirement.name))
        wanted = ("", *sorted(requirement.extras))
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        package = distribution(name)
        version = package.version.partition("+")[0]
        found[name] = Package(package.metadata["Name"], version, licence_of(package))
        todo += [(inner, wanted) for inner in package.requires or ()]
    return found


@cache
def extras() -> dict[str, dict[str, Package] | None]:
    """List the packages of the base, under "", and what each extra brings beside them.

    None for an extra that is not installed here.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = needed(project["dependencies"])
    found: dict[str, dict[str, Package] | None] = {"": base}
    for extra, requirements in project["optional-dependencies"].items():
        if extra == "test":
            continue
        try:
            packages = needed(requirements)
            if extra == "lava":
                packages |= {name: _alone(name) for name in LAVA}
        except PackageNotFoundError:
            found[extra] = None
            continue
        found[extra] = {name: packages[name] for name in packages.keys() - base.keys()}
    return found


def _alone(name: str) -> Package:
    found = distribution(name)
    return Package(name, found.version, licence_of(found))


def page() -> str:
    """Give the text of docs/licences.md with new tables."""
    parts = [PAGE.read_text(encoding="utf-8").partition(FIRST)[0]]
    for extra, packages in extras().items():
        title = f"## Extra `{extra}`, beside the base" if extra else FIRST
        if packages is None:
            parts.append(f"{title}\n\nNot listed: `make setup` does not install it.\n")
            continue
        rows = [
            f"| {package.name} | {package.version} | {package.licence} | {package.copyleft} |"
            for _, package in sorted(packages.items())
        ]
        table = ["| package | version | licence | copyleft |", "|---|---|---|---|", *rows]
        parts.append("\n".join([title, "", *table]) + "\n")
    return parts[0] + "\n".join(parts[1:])


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
