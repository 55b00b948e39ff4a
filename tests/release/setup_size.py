"""Says how much make setup will fetch, before it does: torch with CUDA, or without, decides.

python tests/release/setup_size.py

It asks pip which torch it would take, and installs nothing. Run it with the environment's Python.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
# Measured on 30 November 2026, Linux x86-64: torch 2.13.0 of PyPI with CUDA 13 on Python 3.12, and
# its CPU build on Python 3.11.
SIZES = {
    True: "about 3 GB to fetch, 6 GB on the disk: pip finds torch with CUDA",
    False: "about 1 GB to fetch, 2.5 GB on the disk: pip finds torch without CUDA",
    None: "1 GB to fetch where pip finds torch without CUDA, else 3 GB (2.5 or 6 GB on the disk)",
}


def brings_cuda(report: dict[str, Any]) -> bool:
    """Tell from pip's report on torch if it asks for CUDA's libraries on this system."""
    asks = [
        text
        for one in report["install"]
        for text in one["metadata"].get("requires_dist", [])
        if text.startswith(("cuda", "nvidia"))
    ]
    return any('platform_system == "Linux"' not in text for text in asks) or (
        bool(asks) and sys.platform == "linux"
    )


def main() -> None:
    words = ["--dry-run", "--no-deps", "-q", "--ignore-installed", "--report", "-"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *words, "-c", str(CONSTRAINTS), "torch"],
        capture_output=True,
        text=True,
    )
    found = brings_cuda(json.loads(done.stdout)) if done.returncode == 0 else None
    print(f"Setting up {Path(sys.prefix).name}: {SIZES[found]} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
