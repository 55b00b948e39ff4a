import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tmkt.bundle import load, sha256
from tmkt.cli.demo import SHIPPED
from tmkt.readers.camera_file import read_camera

# What a base installation lacks: a process in which importing them fails.
BASE = """
import sys
for name in ("torch", "spikingjelly", "sklearn", "nir", "onnx", "h5py", "PIL", "lava"):
    sys.modules[name] = None
from tmkt.__main__ import main
main()
"""


def test_the_demo_runs_the_whole_pipeline_and_ends_with_its_figures(
    tmkt_process: Any, tmp_path: Path
) -> None:
    done = tmkt_process("demo", "--out", tmp_path / "demo", "--limit", 5)
    assert done.code == 0, done.err
    assert "Parity with the simulator: passed" in done.out
    for shown in (
        "float",
        "simulator",
        "onnx",
        "davies2018",
        "leaves out:",
        "loihi.net",
        "network.nir",
        "network.onnx",
    ):
        assert shown in done.out
    assert "400 recordings that were not trained on" in done.err
    accuracy = float(done.err.split("that were not trained on: ")[1].split(" %")[0])
    assert accuracy > 85  # 93.8 when this was written; chance is 10
    page = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    for engine in ("onnx", "lava") if "Lava was left out" not in done.err else ("onnx",):
        assert f">{engine}</td>" in page
    last = done.err.strip().splitlines()[-1]
    assert last.startswith("Next: ")
    assert "report.html" in last


def base(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a base installation does: without torch and all that extras bring."""
    words = [sys.executable, "-c", BASE, *map(str, arguments)]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=300)


def test_the_quick_demo_needs_nothing_but_a_base_installation(tmp_path: Path) -> None:
    done = base("demo", "--quick", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Parity with the simulator: passed" in done.stdout
    for shown in ("float", "onnx", "davies2018", "network.onnx", "energy per inference"):
        assert shown in done.stdout
    assert "50 recordings that were not trained on" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("Next: ")
    page = (tmp_path / "demo-quick" / "report.html").read_text(encoding="utf-8")
    assert "94.5 %" in page  # of the training, which the shipped run tells

    again = base("evaluate", "demo-quick/bundle", "--data", "demo-quick/data", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "Confusion matrix" in again.stdout


def test_the_quick_demo_replaces_its_own_files_only(tmkt: Any, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "digits.json").write_text("{}")
    (tmp_path / "data" / "mine.bin").write_text("kept")
    done = tmkt("demo", "--quick", "--out", tmp_path)
    assert done.code == 2
    assert "holds 'mine.bin', which does not come with tmkt" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    assert tmkt("demo", "--quick", "--limit", 5).err.startswith("tmkt: demo: --quick runs no Lava")


def test_what_is_shipped_belongs_together() -> None:
    bundle = load(SHIPPED / "bundle")
    assert (
        sha256(SHIPPED / "run" / "model.safetensors") == bundle.manifest["origin"]["model_sha256"]
    )
    trained_on = set(json.loads((SHIPPED / "run" / "run.json").read_text())["trained_on"])
    recordings = sorted((SHIPPED / "data" / "Train").rglob("*.bin"))
    assert len(recordings) == 50
    assert not trained_on & {f"digits-{int(path.stem) - 1}" for path in recordings}
    assert read_camera(SHIPPED / "data" / "Train").sensor == bundle.contract.sensor
