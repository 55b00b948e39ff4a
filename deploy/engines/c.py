"""The C engine: compiles the exported C with this machine's `cc` and runs it in its own process.

It is an independent engine, and it runs the code that a microcontroller would run. Unlike all else
in a bundle, `network.c` is a program: compile and run it only if you trust whoever made the bundle.
"""

import errno
import os
import shutil
import subprocess
import tempfile
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.deploy.engines.types import EngineOutput
from tmkt.errors import InputError

INSTALL_HINT = (
    "install a C compiler (Debian, Ubuntu: apt install gcc libc6-dev; macOS: xcode-select"
    " --install)"
)

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

# Reads frames, writes of each sample the spikes of all layers step by step and then the read-out.
# MOST: the neurons of the largest layer.
_DRIVER = """\
#include <stdio.h>
#include <stdlib.h>
#include "network.h"

static tmkt_state state;
static uint8_t frame[TMKT_INPUT_SIZE], spikes[MOST];

int main(int argc, char **argv)
{
    const long steps = argc == 2 ? atol(argv[1]) : 1;
    long step = 0;
    for (; fread(frame, 1, sizeof frame, stdin) == sizeof frame; step = (step + 1) % steps) {
        if (step == 0)
            tmkt_reset(&state);
        tmkt_step(&state, frame);
        for (int32_t layer = 0; layer < TMKT_LAYERS; layer++)
            fwrite(spikes, 1, (size_t)tmkt_spikes(&state, layer, spikes), stdout);
        for (int32_t k = 0; step == steps - 1 && k < TMKT_CLASSES; k++) {
            const int32_t value = tmkt_readout(&state, k);
            fwrite(&value, sizeof value, 1, stdout);
        }
    }
    return ferror(stdin) || fflush(stdout) || ferror(stdout);
}
"""

# Version 0.1 exported a tmkt_spikes that points to the spikes.
_OLD = b"const uint8_t *tmkt_spikes("
_OLD_SPIKES = """\
#include <string.h>
#define tmkt_spikes(state, layer, spikes) (tmkt_spikes(state, layer) \
    ? (memcpy(spikes, tmkt_spikes(state, layer), sizes[layer]), sizes[layer]) : 0)
static const size_t sizes[] = {SIZES};
"""


def compiler() -> str | None:
    """Return the path of the C compiler that the engine uses, or None."""
    return shutil.which("cc")


class CEngine:
    """Compiles a bundle's `network.c` once and runs frames through it.

    Raises InputError if there is no compiler or it refuses the file.
    """

    name = "c"
    exact = True

    def __init__(self, bundle: Bundle) -> None:
        self.source = bundle.path / bundles.C_SOURCE
        files = {name: bundle.read(name) for name in (bundles.C_SOURCE, bundles.C_HEADER)}
        self.program = bundle.program
        cc = compiler()
        if cc is None:
            raise InputError(f"engine 'c': found no C compiler called cc; {INSTALL_HINT}")
        try:
            folder = Path(tempfile.mkdtemp(prefix="tmkt-c-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            for name, content in files.items():
                (folder / name).write_bytes(content)
            layers = bundle.program.layers
            driver = _DRIVER.replace("MOST", str(max(layer.neurons for layer in layers)))
            if _OLD in files[bundles.C_HEADER]:
                sizes = ", ".join(str(layer.neurons) for layer in layers)
                include = '#include "network.h"\n'
                driver = driver.replace(include, include + _OLD_SPIKES.replace("SIZES", sizes))
            (folder / "main.c").write_text(driver, encoding="ascii", newline="\n")
            self._binary = folder / "network"
            command = [
                cc,
                "-std=c99",
                "-O3",
                "-march=native",
                "-o",
                self._binary.name,
                "main.c",
                bundles.C_SOURCE,
            ]
            done = subprocess.run(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                env={**os.environ, "LC_ALL": "C"},  # NO_ROOM is looked for in English
            )
        except OSError as error:
            raise _no_room(error) from error
        if done.returncode != 0:
            for code in NO_ROOM:
                if os.strerror(code) in done.stderr:  # the compiler's own files filled the disk
                    raise _no_room(OSError(code, os.strerror(code)))
            why = next(
                (line for line in done.stderr.splitlines() if "error" in line),
                f"exit code {done.returncode}",
            )
            raise InputError(
                f"{self.source}: {cc} cannot compile it ({why[:150]}); export the network again"
            )

    def run(self, frames: NDArray[np.uint8]) -> EngineOutput:
        """Run frames uint8 [N, T, C, H, W], each sample from states of zero.

        The spikes [N, T, C, ...] are views of arrays with the channels last.
        """
        samples, steps = frames.shape[:2]
        layers = self.program.layers
        spikes = [
            (layer.name, np.uint8, (*layer.shape[1:], layer.shape[0]))
            for layer in layers
            if layer.fires
        ]
        answer = np.dtype(
            [("steps", spikes, (steps,)), ("readout", np.int32, (self.program.classes,))]
        )
        try:
            done = subprocess.run(
                [self._binary, str(steps)],
                input=np.ascontiguousarray(frames).reshape(-1).data,
                capture_output=True,
            )
        except OSError as error:
            raise _no_room(error) from error
        if done.returncode != 0 or len(done.stdout) != samples * answer.itemsize:
            why = (
                f"ended by signal {-done.returncode}"
                if done.returncode < 0
                else f"exit code {done.returncode}, {len(done.stdout)} bytes"
            )
            raise InputError(
                f"{self.source}: the compiled program failed ({why}); export the network again"
            )
        found = np.frombuffer(done.stdout, answer)
        shown = {
            layer.name: np.moveaxis(found["steps"][layer.name], -1, 2)
            for layer in layers
            if layer.fires
        }
        return EngineOutput(found["readout"].astype(np.int64), shown)


def _no_room(error: OSError) -> InputError:
    return InputError(
        f"{tempfile.gettempdir()}: nothing can be compiled or run there"
        f" ({error.strerror or error}); free space or set TMPDIR"
    )
