"""Installs a wheel into a clean environment, with nothing but what it asks for, and uses it as a
deployment host does: demo, evaluate, parity, stream, without torch.

python tests/release/try_wheel.py dist

Needs no package but Python's own, and works on every system. Ends with the seconds of each command.
"""

import argparse
import os
import subprocess
import sys
import time
import venv
from pathlib import Path
from tempfile import TemporaryDirectory

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
NOT_OF_THE_BASE = ("torch", "spikingjelly", "sklearn", "nir", "onnx", "h5py", "PIL", "lava")
COMMANDS = (
    "demo --quick --out demo",
    "demo --quick --out again",  # without compiling
    "evaluate demo/bundle --data demo/data",
    "parity demo/bundle --data demo/data",
    "stream demo/bundle demo/data/Train/3/00061.bin --sensor 34x34",
)


def try_wheel(wheel: Path, place: Path) -> dict[str, float]:
    """Install `wheel` into an environment in `place`, run the commands, and return their seconds.

    Raises CalledProcessError for the first that fails, and SystemExit if the environment holds
    what a base installation must not bring.
    """
    venv.create(place / "venv", with_pip=True)
    scripts = place / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def run(*words: object) -> float:
        begin = time.monotonic()
        subprocess.run([*map(str, words)], cwd=place, env=environment, check=True)
        return time.monotonic() - begin

    took = {"install": run(python, "-m", "pip", "install", "-q", "-c", CONSTRAINTS, wheel)}
    run(python, "-m", "pip", "check")
    names = ", ".join(map(repr, NOT_OF_THE_BASE))
    code = f"from importlib.util import find_spec; print(*filter(find_spec, [{names}]))"
    found = subprocess.run(
        [python, "-c", code], cwd=place, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()
    if found:
        sys.exit(f"{wheel}: brings {found}, expected none of {', '.join(NOT_OF_THE_BASE)}")
    for command in COMMANDS:
        took[f"tmkt {command}"] = run(scripts / "tmkt", *command.split())
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dist", type=Path, help="a folder with one wheel")
    wheels = sorted(parser.parse_args().dist.glob("*.whl"))
    if len(wheels) != 1:
        sys.exit(f"found {len(wheels)} wheels, expected one; make it with: make dist")
    with TemporaryDirectory(prefix="tmkt-wheel-") as place:
        took = try_wheel(wheels[0].resolve(), Path(place))
        size = sum(path.stat().st_size for path in Path(place, "venv").rglob("*") if path.is_file())
    print(
        f"{wheels[0].name}: {wheels[0].stat().st_size / 1e6:.1f} MB, installed {size / 1e6:.0f} MB"
    )
    for what, seconds in took.items():
        print(f"{seconds:7.1f} s  {what}")


if __name__ == "__main__":
    main()
