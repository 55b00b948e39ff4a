"""Run all benchmarks in one process: `make bench` (tables), `make bench-json` (JSON lines)."""

import frames
import nmnist
import scaling
import stream_memory
import train_step
import vggsnn
from report import main

if __name__ == "__main__":
    main(
        nmnist.benchmark,
        vggsnn.benchmark,
        scaling.benchmark,
        frames.benchmark,
        stream_memory.benchmark,
        train_step.benchmark,
    )
