"""Instructions and bytes of a bundle's C on emulated boards, beside a dense int8 network of the
same layers.

python tests/bench/microcontroller.py bundles/poker --data ../shared/data/pokerdvs/events --boards
cortex-m4 cortex-m55

The dense network is a usual ANN: all recordings' bins in one frame, activations of 8 bits, loops as
plain as those of CMSIS-NN's reference (arm_convolve_s8 without DSP instructions). Its weights are
random, because what it computes does not depend on them. It needs chains of convolutions with a
dense read-out.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from tmkt import load, read_recordings
from tmkt.bundle import C_HEADER, C_SOURCE
from tmkt.cli.tables.table import table
from tmkt.deploy.board.board import BOARDS, OnBoard, run_c, run_on_board
from tmkt.deploy.engines.registry import open_engine
from tmkt.deploy.evaluate import answers_of, measure
from tmkt.errors import InputError
from tmkt.program.model import INPUT, Program

DENSE_H = """\
#include <stdint.h>
#define TMKT_INPUT_SIZE {inputs}
#define TMKT_CLASSES {classes}
#define TMKT_BINS 1
typedef struct {{ int8_t maps[2][{largest}]; int32_t values[{classes}]; }} tmkt_state;
void tmkt_reset(tmkt_state *state);
void tmkt_step(tmkt_state *state, const uint8_t *input);
int32_t tmkt_readout(const tmkt_state *state, int32_t k);
"""

DENSE_C = """\
#include "network.h"

/* A product in 32 bits, scaled and rounded to 8. */
static int8_t scaled(int32_t sum, int32_t multiplier, int32_t shift)
{
    const int64_t product = (int64_t)sum * multiplier + ((int64_t)1 << (shift - 1));
    const int32_t value = (int32_t)(product >> shift);
    return (int8_t)(value < 0 ? 0 : value > 127 ? 127 : value);
}

static void convolve(const int8_t *input, int32_t height, int32_t width, int32_t channels,
                     const int8_t *weight, int32_t taps, int32_t stride, int32_t padding,
                     int8_t *output, int32_t out_height, int32_t out_width,
                     int32_t outputs)
{
    for (int32_t y = 0; y < out_height; y++)
        for (int32_t x = 0; x < out_width; x++)
            for (int32_t o = 0; o < outputs; o++) {
                int32_t sum = o;
                for (int32_t ky = 0; ky < taps; ky++) {
                    const int32_t down = y * stride - padding + ky;
                    if (down < 0 || down >= height)
                        continue;
                    for (int32_t kx = 0; kx < taps; kx++) {
                        const int32_t right = x * stride - padding + kx;
                        if (right < 0 || right >= width)
                            continue;
                        const int8_t *const from = input + (down * width + right) * channels;
                        const int8_t *const with =
                            weight + ((o * taps + ky) * taps + kx) * channels;
                        for (int32_t c = 0; c < channels; c++)
                            sum += from[c] * with[c];
                    }
                }
                output[(y * out_width + x) * outputs + o] = scaled(sum, 1 << 20, 28);
            }
}

void tmkt_reset(tmkt_state *state) { (void)state; }

int32_t tmkt_readout(const tmkt_state *state, int32_t k) { return state->values[k]; }

"""


def dense_files(program: Program, rng: np.random.Generator) -> dict[str, bytes]:
    """Write the C of a dense int8 network with the layers of a program."""
    channels, height, width = program.input_shape
    source, code, calls = INPUT, [DENSE_C], []
    largest, at = channels * height * width, 0
    for layer in program.layers[:-1]:
        [synapse] = layer.synapses
        if synapse.kind != "conv" or synapse.source != source or synapse.pool != 1:
            raise InputError(f"layer {layer.name}: expected a chain of convolutions without pools")
        weight = rng.integers(-127, 128, synapse.weight.size)
        code.append(_table(f"weight_{at}", weight))
        (out, high, wide), taps = layer.shape, synapse.weight.shape[2]
        calls.append(
            f"    convolve(state->maps[{at % 2}], {height}, {width}, {channels}, weight_{at},"
            f" {taps}, {synapse.stride[0]}, {synapse.padding[0]},"
            f" state->maps[{1 - at % 2}], {high}, {wide}, {out});\n"
        )
        channels, height, width, source, at = out, high, wide, layer.name, at + 1
        largest = max(largest, channels * height * width)
    classes, inputs = program.classes, channels * height * width
    code.append(_table("weight_last", rng.integers(-127, 128, classes * inputs)))
    sizes = np.prod(program.input_shape)
    body = "".join(calls)
    code.append(
        "void tmkt_step(tmkt_state *state, const uint8_t *input)\n{\n"
        f"    for (int32_t i = 0; i < {sizes}; i++)\n"
        f"        state->maps[0][i] = (int8_t)(input[i] & 127);\n{body}"
        f"    for (int32_t k = 0; k < {classes}; k++) {{\n        int32_t sum = 0;\n"
        f"        for (int32_t i = 0; i < {inputs}; i++)\n"
        f"            sum += state->maps[{at % 2}][i] * weight_last[k * {inputs} + i];\n"
        "        state->values[k] = sum;\n    }\n}\n"
    )
    header = DENSE_H.format(inputs=sizes, classes=classes, largest=largest)
    return {C_SOURCE: "".join(code).encode(), C_HEADER: header.encode()}


def _table(name: str, values: np.ndarray) -> str:
    return f"static const int8_t {name}[] = {{{','.join(map(str, values))}}};\n\n"


def products(program: Program) -> int:
    """Count the multiplications of a dense inference, borders included."""
    total = 0
    for layer in program.layers:
        for synapse in layer.synapses:
            dense = synapse.weight.size
            positions = 1 if synapse.kind == "dense" else layer.neurons // layer.shape[0]
            total += dense * positions
    return total


def row(kind: str, found: OnBoard, operations: float, word: str) -> list[object]:
    return [
        found.board,
        kind,
        f"{found.instructions / 1e6:.2f}",
        f"{operations / 1e6:.2f} M {word}",
        f"{found.instructions / operations:.2f}",
        found.flash_bytes,
        found.ram_bytes,
        found.stack_bytes,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--boards", nargs="+", choices=list(BOARDS), default=["cortex-m4"])
    options = parser.parse_args()
    bundle = load(options.bundle)
    frames = read_recordings(bundle, options.data, limit=options.limit).frames
    engine = open_engine("simulator", bundle)
    answers = answers_of(measure(bundle, engine, frames))
    dense = dense_files(bundle.program, np.random.default_rng(0))
    summed = np.minimum(frames.sum(1, dtype=np.int64), 127).astype(np.uint8)[:, None]
    rows = []
    for name in options.boards:
        found = run_on_board(bundle, name, frames)
        assert (found.readout == answers.readout).all()
        rows.append(row("spikes", found, float(answers.synops.mean()), "synaptic operations"))
        ann = run_c(dense, "dense", name, summed[:2], bundle.program.classes)
        rows.append(row("dense int8", ann, products(bundle.program), "products"))
    columns = ["board", "network", "M instructions", "work", "each", "flash", "RAM", "stack"]
    table(f"{options.bundle}, {len(frames)} recordings, an inference", columns, rows)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
