"""The checks of a GPU run on a CPU, too, where all that they compare is equal."""

import json
import subprocess
import sys
from pathlib import Path


def test_the_tiny_form_checks_all_and_writes_one_file_and_tables(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    script = Path(__file__).with_name("gpu.py")
    done = subprocess.run(
        [sys.executable, str(script), "--tiny", "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert all(check["passed"] for check in found["checks"])
    names = {check["name"] for check in found["checks"]}
    methods = [
        "target-only",
        "finetune",
        "kt",
        "ckd",
        "tmkt",
        "joint",
        "mix",
        "adapt",
        "static-only",
    ]
    assert {f"method {name}" for name in methods} <= names
    assert {"training in fp32", "training in tf32", "training in bf16"} <= names
    assert sum(name.startswith("neuron ") for name in names) == 18
    assert [row["case"] for row in found["times"]] == ["KT, fp32", "TMKT, fp32"]
    assert all(row["ms"] > 0 for row in found["times"])
    assert found["profile"]
    for title in ("Training steps", "Profile of KT's step"):
        assert title in done.stdout
