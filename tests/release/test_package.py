"""The wheel and the sdist hold what a user needs. `make dist` installs the wheel and uses it."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {"tmkt": "tmkt", "train": "tmkt/train", "export": "tmkt/export", "deploy": "tmkt/deploy"}
BUILD = "from setuptools import build_meta as b; print(b.build_wheel('.'), b.build_sdist('.'))"


def tracked(folder: str) -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", folder], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(filter(None, listed.stdout.split("\0")))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str]]:
    """Build both from a copy of the tracked files; return the names in them."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout: nothing says which files belong to the project")
    place = tmp_path_factory.mktemp("build")
    for name in tracked("."):
        if not name.startswith("tests/") or name.startswith("tests/release/"):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, place / name)
    words = [sys.executable, "-W", "ignore", "-c", BUILD]
    subprocess.run(words, cwd=place, capture_output=True, text=True, check=True)
    (wheel,), (sdist,) = place.glob("*.whl"), place.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive, tarfile.open(sdist) as packed:
        inside = {name.partition("/")[2] for name in packed.getnames()}
        return set(archive.namelist()), inside


def test_the_wheel_holds_all_files_of_the_four_folders(built: tuple[set[str], set[str]]) -> None:
    wheel, _ = built
    expected = {
        name.replace(folder, inside, 1)
        for folder, inside in FOLDERS.items()
        for name in tracked(folder)
    }
    missing = expected - wheel
    assert not missing
    others = {name for name in wheel - expected if ".dist-info/" not in name}
    assert not others


def test_the_sdist_holds_what_the_wheel_is_built_from_and_the_documents(
    built: tuple[set[str], set[str]],
) -> None:
    _, sdist = built
    expected = {name for folder in (*FOLDERS, "docs", "examples") for name in tracked(folder)}
    expected |= {"pyproject.toml", "README.md", "LICENSE", "constraints.txt", "CITATION.cff"}
    assert expected <= sdist
