"""Reads Dockerfiles, and does what they say without Docker: in a folder and an environment of its
own instead of an image.

python tests/release/dockerfiles.py docker/deploy.Dockerfile

An image is a folder; a path in it is below that folder. COPY copies, RUN runs in a shell whose
`python`, `pip` and `tmkt` are those of the image's environment. Users stay as they are: `useradd`
does nothing. At the end ENTRYPOINT runs with CMD.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
KNOWN = ("FROM", "WORKDIR", "COPY", "RUN", "USER", "ENTRYPOINT", "CMD")


@dataclass
class Stage:
    """One image of a Dockerfile: its base, its name if it has one, and (word, rest) a line."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)


def parse(path: Path) -> list[Stage]:
    """Read the stages of a Dockerfile; ValueError for what this reader does not know."""
    stages: list[Stage] = []
    text = re.sub(r"\\\n", " ", path.read_text(encoding="utf-8"))
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        if word not in KNOWN or not rest.strip():
            raise ValueError(f"{path}: {line!r}, expected one of {', '.join(KNOWN)}")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(base, name))
        elif not stages:
            raise ValueError(f"{path}: {line!r} before FROM")
        else:
            stages[-1].steps.append((word, rest.strip()))
    return stages


def below(image: Path, place: str) -> Path:
    return image / place.lstrip("/")


def build(stages: list[Stage], place: Path) -> Path:
    """Do the steps of all stages, each in a folder below `place`; return that of the last."""
    images: dict[str, Path] = {}
    for number, stage in enumerate(stages):
        image = images[stage.name or str(number)] = place / f"image{number}"
        venv.create(image / "venv", with_pip=True)
        programs = image / "venv" / "bin"
        (programs / "useradd").symlink_to("/bin/true")
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        work, entry = image, []
        for word, rest in stage.steps:
            print(f"{word} {rest}", flush=True)
            if word == "WORKDIR":
                work = below(image, rest)
                work.mkdir(parents=True, exist_ok=True)
            elif word == "COPY":
                _copy(rest.split(), images, work)
            elif word == "RUN":
                _run(["sh", "-ec", rest], work, path)
            elif word == "ENTRYPOINT":
                entry = json.loads(rest)
            elif word == "CMD":
                _run([*entry, *json.loads(rest)], work, path)
    return image


def _run(words: list[str], work: Path, path: str) -> None:
    subprocess.run(words, cwd=work, env={**os.environ, "PATH": path}, check=True)


def _copy(words: list[str], images: dict[str, Path], work: Path) -> None:
    source = ROOT
    if words[0].startswith("--from="):
        source = images[words.pop(0).removeprefix("--from=")]
    *names, target = words
    for name in names:
        found = below(source, name)
        if found.is_dir():
            unwanted = shutil.ignore_patterns("__pycache__")
            shutil.copytree(found, work / target, dirs_exist_ok=True, ignore=unwanted)
        else:
            shutil.copy(found, work / target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dockerfile", type=Path, nargs="+")
    for path in parser.parse_args().dockerfile:
        with TemporaryDirectory(prefix="tmkt-image-") as place:
            try:
                build(parse(path), Path(place))
            except (ValueError, subprocess.CalledProcessError) as error:
                sys.exit(f"{path}: {error}")


if __name__ == "__main__":
    main()
