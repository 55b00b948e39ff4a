"""A gate before a chip: the network fits, every engine computes the same, and an inference costs
at most so much by every estimator for that chip.

tmkt demo --quick
python examples/chip-user/gate.py demo-quick --device loihi1 --most-joules 30e-6

The exit code is 1 if one of the three does not hold.
"""

import argparse
import sys
from pathlib import Path

from tmkt import energy, load, parity, read_recordings
from tmkt.deploy.fit.device import load_device
from tmkt.deploy.fit.network import from_program
from tmkt.deploy.fit.report import fit

STATIC = "loihi1-static"  # adds the power of the idle chip, which depends on what else runs there


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path, help="a folder with bundle/ and data/")
    parser.add_argument("--device", default="loihi1")
    parser.add_argument("--most-joules", type=float, default=30e-6)
    options = parser.parse_args()
    bundle = load(options.demo / "bundle")
    samples = read_recordings(bundle, options.demo / "data")
    failed = False

    placed = fit(
        from_program(bundle.program),
        load_device(options.device),
        bundle=bundle,
        frames=samples.frames,
    )
    step = placed["step_time"]
    failed |= not placed["fits"]
    print(f"{options.device}: {placed['cores']} cores on {placed['chips']} chips")
    if step:
        print(f"a step takes {step['low_us']:.0f} to {step['high_us']:.0f} µs")

    compared = parity(bundle, samples, engines=["onnx", "float"])
    failed |= not compared.passed
    print("engines agree" if compared.passed else "\n".join(compared.failures))

    for estimate in energy(bundle, samples, [options.device]):
        if estimate.device != options.device or estimate.estimator == STATIC:
            continue
        if estimate.high_j is None:
            print(f"{estimate.estimator}: {estimate.reason}")
            continue
        failed |= estimate.high_j > options.most_joules
        print(f"{estimate.estimator}: {1e6 * estimate.low_j:.1f} to {1e6 * estimate.high_j:.1f} µJ")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
