"""Files of the project that other programs read: GitHub, Docker, citation tools.

None of those runs here, so the tests check that the files can be read and that what they call
exists.
"""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_version import versions
from dockerfiles import Stage, parse

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


def read(path: Path) -> dict[str, Any]:
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def by_name(paths: list[Path]) -> Any:
    assert paths
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.name)


@by_name(WORKFLOWS)
def test_what_workflows_call_exists(path: Path) -> None:
    workflow = read(path)
    # YAML 1.1 reads the key "on" as true
    assert set(workflow) == {"name", True, "permissions", "jobs"}
    pyproject = (ROOT / "pyproject.toml").read_text()
    extras = set(re.findall(r"^(\w+) = \[", pyproject, re.M))
    for job in workflow["jobs"].values():
        needed = {job["needs"]} if "needs" in job else set()
        assert needed <= set(workflow["jobs"])
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            if "uses" in step:
                assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"])
                continue
            for line in step["run"].splitlines():
                if line.startswith("make "):
                    words = ["make", "-n", "--no-print-directory", *line.split()[1:]]
                    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
                    assert done.returncode == 0, done.stderr
                for script in re.findall(r"python ([\w/.]+\.py)", line):
                    assert (ROOT / script).is_file(), line
                for names in re.findall(r"\.\[([\w,]+)\]", line):
                    assert set(names.split(",")) <= extras


def test_workflows_test_the_versions_that_the_package_promises() -> None:
    promised = re.findall(r'Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    jobs = [read(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]["tests"]]
    jobs.append(read(ROOT / ".github" / "workflows" / "packages.yml")["jobs"]["use"])
    for job in jobs:
        matrix = job["strategy"]["matrix"]
        assert matrix["python"] == promised == ["3.11", "3.12", "3.13"]
        assert matrix["os"] == ["ubuntu-latest", "macos-latest", "windows-latest"]


@by_name(FORMS)
def test_issue_forms_are_forms(path: Path) -> None:
    form = read(path)
    assert {"name", "description", "body"} <= set(form)
    names = [part["id"] for part in form["body"]]
    assert len(set(names)) == len(names)
    for part in form["body"]:
        assert part["type"] in ("textarea", "input", "dropdown", "checkboxes", "markdown")
        assert part["attributes"]["label"]


def test_the_citation_says_what_citation_tools_need_and_the_version_of_the_package() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors", "version"} <= set(citation)
    assert citation["license"] == "Apache-2.0"
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= set(reference)
        assert reference["title"] in (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(set(versions().values())) == 1


@by_name([ROOT / name for name in ("SECURITY.md", "CODE_OF_CONDUCT.md", "tmkt/quick/README.md")])
def test_what_pages_outside_the_documents_name_exists(path: Path) -> None:
    named = re.findall(r"((?:tests|docs|tmkt)/[\w/.-]+\.\w+)", path.read_text(encoding="utf-8"))
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing
    for target in re.findall(r"`make ([\w-]+)`", path.read_text(encoding="utf-8")):
        words = ["make", "-n", target]
        assert subprocess.run(words, cwd=ROOT, capture_output=True).returncode == 0


@by_name(DOCKERFILES)
def test_images_are_built_of_what_is_there_and_run_as_nobody_special(path: Path) -> None:
    stages = parse(path)
    allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.M)
    names = {stage.name for stage in stages}
    for stage in stages:
        assert re.fullmatch(r"python:3\.1[123]-slim", stage.base)
        for words in (rest.split() for word, rest in stage.steps if word == "COPY"):
            if words[0].startswith("--from="):
                assert words[0].removeprefix("--from=") in names
                continue
            for name in words[:-1]:
                assert (ROOT / name).exists(), name
                assert name in allowed
    last = stages[-1]
    assert value(last, "USER") == "1000"
    assert value(last, "ENTRYPOINT") == '["tmkt"]'
    commands = [rest for stage in stages for word, rest in stage.steps if word == "RUN"]
    installs = [command for command in commands if " pip " in command]
    assert installs
    assert all("--no-cache-dir" in command for command in installs)
    assert any("-c constraints.txt" in command for command in installs)


def test_the_deployment_image_has_no_extra_and_the_training_image_has() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in DOCKERFILES}
    assert ".[" not in texts["deploy.Dockerfile"]
    assert "'.[train,export]'" in texts["train.Dockerfile"]


def value(stage: Stage, wanted: str) -> str:
    (found,) = [rest for word, rest in stage.steps if word == wanted]
    return found
