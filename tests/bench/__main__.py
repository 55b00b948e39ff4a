"""All benchmarks, side by side in one run: `make bench` (tables), `make bench-json` (JSON lines).
docs/benchmarks.md says what each does.
"""

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
