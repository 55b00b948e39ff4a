"""All that is to be known of a GPU in at most eight minutes: does it compute what the CPU does, how
fast are the papers' training steps, and what bounds them?

Nothing is read but tmkt itself, and no network. One JSON file and tables come out; the exit code
is 1 where a check fails. --tiny does the same in a moment, on a CPU, too. It needs torch 2.11 or
later, and no editable install: PYTHONPATH may lead to a folder of installed wheels.
"""

import argparse
import json
import platform
import sys
import time
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from tmkt import console
from tmkt.cli.tables.table import table
from tmkt.console import significant
from tmkt.recipe import TrainRecipe
from tmkt.train.runtime import computing

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import gpu_checks
import gpu_times
import saved_memory

LAST_START_S = 400.0  # what begins later might not end within eight minutes


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="small networks, few steps: seconds")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="default: gpu.json")
    options = parser.parse_args()
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cpu" and not options.tiny:
        parser.error("torch sees no GPU here; --tiny runs on a CPU")
    report = Report(device, options.tiny)
    report.run()
    options.out.write_text(json.dumps(report.found, indent=1) + "\n", encoding="utf-8")
    report.show()
    console.note(f"Wrote {options.out}")
    failed = [check["name"] for check in report.found["checks"] if not check["passed"]]
    if failed:
        console.note(f"{len(failed)} of {len(report.found['checks'])} checks failed")
        raise SystemExit(1)


class Report:
    """Findings, section by section; one that fails does not keep the others from running."""

    def __init__(self, device: torch.device, tiny: bool) -> None:
        self.device, self.tiny, self.began = device, tiny, time.monotonic()
        self.found: dict[str, Any] = {"environment": environment(device), "checks": []}

    def run(self) -> None:
        """Run all sections: the first times come early, as time may run out."""
        device, tiny = self.device, self.tiny
        every = dict(gpu_checks.every(device, tiny))
        for name in ("precisions", "neurons", "layers", "engine"):
            self.check(name, every.pop(name))
        self.found["times"] = []
        cases = gpu_times.CASES[2:6:3] if tiny else gpu_times.CASES
        for case in cases[:6]:
            self.time(case)
        self.section("profile", lambda: gpu_times.profiled(device, tiny))
        for name, checks in every.items():
            self.check(name, checks)
        self.section("batches_s", lambda: gpu_times.alone(device, tiny))
        if not tiny:
            self.section("memory", lambda: saved_memory.memory_gb(device))
        for case in cases[6:]:
            self.time(case)
        self.found["seconds"] = round(time.monotonic() - self.began, 1)

    def check(self, name: str, checks: Callable[[], gpu_checks.Found]) -> None:
        """Add the checks of a group; what is raised is a failed one."""
        console.note(f"{time.monotonic() - self.began:4.0f} s  checks: {name}")
        if self.late(name):
            return
        # in float32: left alone, torch would compute a GPU's convolutions in TF32
        recipe = TrainRecipe(steps=1, threads=torch.get_num_threads())
        try:
            with computing(recipe, self.device):
                for what, passed, said in checks():
                    row = {"name": what, "passed": bool(passed), "found": said}
                    self.found["checks"].append(row)
        except Exception as error:
            self.failed(name, error)

    def time(self, case: gpu_times.Case) -> None:
        """Add the times of a case; a loss that is no number is a failed check."""
        console.note(f"{time.monotonic() - self.began:4.0f} s  {case.name}")
        if self.late(case.name):
            return
        try:
            row = gpu_times.timed(case, self.device, self.tiny)
        except torch.OutOfMemoryError:
            self.found.setdefault("left_out", []).append(f"{case.name} (memory)")
            return
        except Exception as error:
            self.failed(case.name, error)
            return
        self.found["times"].append(row)
        said = f"loss {row['loss']:.3f}"
        self.found["checks"].append(
            {"name": f"step of {case.name}", "passed": row["finite"], "found": said}
        )

    def section(self, name: str, work: Callable[[], Any]) -> None:
        """Add what `work` finds under `name`."""
        console.note(f"{time.monotonic() - self.began:4.0f} s  {name}")
        if self.late(name):
            return
        try:
            self.found[name] = work()
        except Exception as error:
            self.failed(name, error)

    def late(self, name: str) -> bool:
        """Tell whether it is too late to begin; what is left out is listed."""
        if time.monotonic() - self.began < LAST_START_S:
            return False
        self.found.setdefault("left_out", []).append(name)
        return True

    def failed(self, name: str, error: Exception) -> None:
        """Note a section that broke off as a failed check, with the end of its traceback."""
        text = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        where = traceback.format_exc().splitlines()[-12:]
        self.found["checks"].append(
            {"name": name, "passed": False, "found": text, "traceback": where}
        )

    def show(self) -> None:
        """Print what was found as tables."""
        found = self.found
        title = ", ".join(f"{key} {value}" for key, value in found["environment"].items())
        rows = [[c["name"], "ok" if c["passed"] else "FAILED", c["found"]] for c in found["checks"]]
        table(title, ["check", "", "found"], rows)
        columns = ["step", "batch", "ms", "pairs/s", "peak GB", "waits", "x published"]
        rows = [
            [
                row["case"],
                row["batch"],
                significant(row["ms"], 3),
                significant(row["pairs_s"], 3),
                None if row["peak_gb"] is None else significant(row["peak_gb"], 3),
                row["waits"],
                significant(row["pairs_s"] / gpu_times.PUBLISHED_PAIRS_S, 2),
            ]
            for row in found["times"]
        ]
        table("Training steps, 48x48, T = 10 (--tiny: smaller)", columns, rows)
        if "memory" in found:
            columns = ["kept for the backward pass", "GB for 120 pairs", "of the published 38 GB"]
            rows = [
                [name, significant(gb, 3), f"{gb / gpu_times.PUBLISHED_GB:.0%}"]
                for name, gb in found["memory"].items()
            ]
            table("Memory of KT's step", columns, rows)
        if "profile" in found:
            rows = [
                [row["kernel"][:60], significant(row["ms"], 3), row["calls"]]
                for row in found["profile"]
            ]
            table("Profile of KT's step, bf16 (--tiny: fp32)", ["kernel", "ms", "calls"], rows)
        for encoding, rate in found.get("batches_s", {}).items():
            console.note(f"Batches alone, {encoding} images: {significant(rate, 3)} pairs/s")
        if "left_out" in found:
            console.note(f"Left out for want of time or memory: {', '.join(found['left_out'])}")


def environment(device: torch.device) -> dict[str, str]:
    """Say what computes: GPU and versions."""
    found = {"torch": torch.__version__, "python": platform.python_version()}
    for package in ("tmkt", "triton", "spikingjelly", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    if device.type == "cuda":
        found |= {
            "GPU": torch.cuda.get_device_name(device),
            "CUDA": str(torch.version.cuda),
            "cuDNN": str(torch.backends.cudnn.version()),
        }
    return found


if __name__ == "__main__":
    main()
