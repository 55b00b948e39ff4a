"""Who may import whom (docs/contributing.md): tmkt no stage, a stage no other stage, what runs a
bundle no torch.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAGES = ("train", "export", "deploy")
FILES = [path for folder in ("tmkt", *STAGES) for path in sorted((ROOT / folder).rglob("*.py"))]
TRAINING_SIDE = {
    *(str(path.relative_to(ROOT)) for path in (ROOT / "tmkt" / "networks").rglob("*.py")),
    "tmkt/runs.py",
    "tmkt/nir/from_network.py",
}
HANDS_ON = "tmkt/__init__.py"
# which is imported only where it is chosen: the test below sees to that
TORCH_ENGINE = "deploy/engines/torch.py"


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_keep_to_the_house_rules(path: Path) -> None:
    place = path.relative_to(ROOT)
    foreign = {f"tmkt.{stage}" for stage in STAGES if stage != place.parts[0]}
    if place.parts[:2] == ("tmkt", "cli") or str(place) == HANDS_ON:
        return
    broken = {
        name
        for name in imported(path)
        if any(name == f or name.startswith(f + ".") for f in foreign)
    }
    assert not broken, f"{place} imports {broken}"
    if (
        place.parts[0] != "train"
        and place.parts[0] != "export"
        and str(place) not in {*TRAINING_SIDE, TORCH_ENGINE}
    ):
        torch = {name for name in imported(path) if name.split(".")[0] in ("torch", "spikingjelly")}
        assert not torch, f"{place} imports {torch}"


def test_running_a_bundle_does_not_load_torch() -> None:
    code = (
        "import sys; import tmkt.cli, tmkt.bundle, tmkt.datasets, tmkt.deploy.engines.registry,"
        " tmkt.program.simulator.simulator, tmkt.deploy.engines.onnx, tmkt.deploy.engines.float,"
        " tmkt.deploy.parity.report, tmkt.deploy.energy, tmkt.deploy.evaluate;"
        " print(sorted({'torch', 'spikingjelly', 'lava'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; import tmkt, tmkt.cli; print(sorted({'numpy', 'numba', 'h5py', 'torch',"
        " 'pydantic', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
