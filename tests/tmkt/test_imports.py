"""The house rules of imports (docs/contributing.md), checked on every import, also in functions.

The rooms of `tmkt` stand on each other, a stage imports no other stage, and what runs a bundle
imports no torch.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAGES = ("train", "export", "deploy")
MODULES = {
    (
        ".".join(("tmkt", *path.relative_to(ROOT / folder).with_suffix("").parts))
        if folder == "tmkt"
        else ".".join(("tmkt", *path.relative_to(ROOT).with_suffix("").parts))
    ).removesuffix(".__init__"): path
    for folder in ("tmkt", *STAGES)
    for path in sorted((ROOT / folder).rglob("*.py"))
}

# What each room of tmkt/ may import of tmkt/; a module on the ground floor is a room of its own.
GROUND = {
    *("errors", "pace", "console", "parts", "files", "toml", "kernels", "hdf5", "install"),
    *("interrupts", "processor"),
}
MAY_IMPORT = {
    "errors": set(),
    "pace": set(),
    "console": {"errors", "pace"},
    "parts": {"console", "errors"},
    "files": {"errors", "parts"},
    "toml": {"errors", "files"},
    "interrupts": set(),
    "linking": set(),
    "kernels": {"console", "files", "interrupts", "linking"},
    "hdf5": {"errors"},
    "install": set(),
    "processor": set(),
    "plots": set(),
    "recipe": {"errors", "console", "toml"},
    "events": GROUND,
    "readers": {*GROUND, "events"},
    "camera": {*GROUND, "events", "recipe"},
    "datasets": {*GROUND, "events", "readers", "camera", "recipe"},
    "proposal": {*GROUND, "events", "readers", "datasets", "recipe"},
    "program": GROUND,
    "nir": {*GROUND, "program", "networks"},
    "networks": {*GROUND, "recipe"},
    "manifest": {"errors", "datasets", "events"},
    "bundle": {*GROUND, "events", "manifest", "program"},
    "runs": {*GROUND, "events", "datasets", "networks", "recipe"},
    "zoo": {*GROUND, "networks", "recipe", "runs"},
}
# The command line imports stages inside its commands. `from tmkt import load` hands on names of
# tmkt.deploy.api, which is loaded when one of them is first asked for.
ABOVE_THE_STAGES = ("tmkt.cli", "tmkt.__main__")
HANDS_ON = "tmkt"

# Where torch may be imported besides train/ and export/. The torch engine is imported only where
# it is chosen.
WITH_TORCH = (
    "tmkt.networks",
    "tmkt.runs",
    "tmkt.zoo.backbone",
    "tmkt.nir.from_network",
    "tmkt.deploy.engines.torch",
)


def imports(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, at its top and inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def room_of(name: str) -> str:
    """Return the room of a module of tmkt: "events" for tmkt.events.frames."""
    return name.split(".")[1]


@pytest.mark.parametrize("name", MODULES)
def test_imports_keep_to_the_house_rules(name: str) -> None:
    found = set(imports(MODULES[name]))
    ours = {other for other in found if other.startswith("tmkt.")}
    stage = name.split(".")[1] if name != HANDS_ON else ""
    if stage in STAGES:
        foreign = tuple(f"tmkt.{other}" for other in STAGES if other != stage)
        broken = {other for other in ours if within(other, foreign) or within(other, ("tmkt.cli",))}
        assert not broken, f"{name} imports {broken}"
    elif name != HANDS_ON and not within(name, ABOVE_THE_STAGES):
        allowed = {room_of(name), *MAY_IMPORT[room_of(name)]}
        broken = {other for other in ours if room_of(other) not in allowed}
        assert not broken, f"{name} imports {broken}, its room may import {sorted(allowed)}"
    if stage not in ("train", "export") and not within(name, WITH_TORCH):
        torch = {other for other in found if other.split(".")[0] in ("torch", "spikingjelly")}
        assert not torch, f"{name} imports {torch}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {name: sorted(set(imports(path)) & set(MODULES)) for name, path in MODULES.items()}
    graph[HANDS_ON] = []
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for other in graph[name]:
                visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_every_package_is_installed() -> None:
    import tomllib

    listed = set(
        tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
            "packages"
        ]
    )
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert packages <= listed


def test_every_file_that_is_read_from_a_package_is_installed() -> None:
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    data = settings["tool"]["setuptools"]["package-data"]
    folders = {"tmkt": ROOT / "tmkt", **{f"tmkt.{stage}": ROOT / stage for stage in STAGES}}
    for package in settings["tool"]["setuptools"]["packages"]:
        top = next(name for name in reversed(folders) if within(package, (name,)))
        folder = folders[top].joinpath(*package.removeprefix(top).strip(".").split("."))
        files = {p.name for p in folder.iterdir() if p.is_file() and p.suffix != ".py"}
        listed = {path.name for glob in data.get(package, []) for path in folder.glob(glob)}
        assert files <= listed, f"{package}: package-data lacks {files - listed}"


def test_running_a_bundle_does_not_load_torch() -> None:
    code = (
        "import sys; import tmkt.cli, tmkt.bundle, tmkt.datasets, tmkt.deploy.engines.onnx,"
        " tmkt.deploy.engines.float, tmkt.deploy.parity.report, tmkt.deploy.energy.report,"
        " tmkt.deploy.evaluate, tmkt.deploy.stream.run, tmkt.deploy.report.page; print(sorted("
        "{'torch', 'spikingjelly', 'lava'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_nothing_heavy() -> None:
    heavy = {"numpy", "numba", "h5py", "torch", "pydantic", "onnxruntime"}
    code = f"import sys; import tmkt, tmkt.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
