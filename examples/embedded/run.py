"""Compiles the network of a demo as C, gives it the demo's recordings, and compares its answers
with the simulator's.

tmkt demo --quick
python examples/embedded/run.py demo-quick

Prints RAM and answers; the exit code is 1 if one answer differs. main.c is what a microcontroller
would run.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tmkt import load, read_recordings, run

MAIN = Path(__file__).with_name("main.c")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path, help="the folder that tmkt demo --quick wrote")
    demo = parser.parse_args().demo.resolve()
    bundle = load(demo / "bundle")
    samples = read_recordings(bundle, demo / "data")
    with TemporaryDirectory() as folder:
        program = Path(folder, "digits")
        bins = f"-DBINS={bundle.contract.bins}"
        sources = [MAIN, bundle.path / "network.c"]
        flags = ["-std=c99", "-O2", "-Wall", "-Wextra", bins, f"-I{bundle.path}"]
        subprocess.run(["cc", *flags, *sources, "-o", program], check=True)
        done = subprocess.run([program], input=samples.frames.tobytes(), stdout=-1, check=True)
    answers = np.array(done.stdout.split(), np.int64)
    expected = run(bundle, samples).predictions
    right = int((answers == samples.labels).sum())
    same = int((answers == expected).sum())
    print(f"{right} of {len(samples)} recordings right")
    print(f"{same} of {len(samples)} answers are the simulator's")
    sys.exit(0 if same == len(samples) else 1)


if __name__ == "__main__":
    main()
