"""Templates of the C99 that export/targets/c.py and c_synapses.py fill in: one for each part that a
program may need, so that a file holds nothing that it does not use. A backslash at a line's end
joins it with the next.
"""

from string import Template

HEADER = Template("""\
/* A spiking network in integers: ${layers} layers, ${neurons} neurons, ${weights} weights. \
No heap, no floating point, no library.
 *
 * RAM: sizeof(tmkt_state) = ${ram} bytes. Constants: ${flash} bytes; \
the code comes on top, and a few dozen bytes of stack.
 *
 *     static tmkt_state state;
 *     tmkt_reset(&state);                        before each sample
 *     tmkt_step(&state, counts);                 once a time step
 *     answer = tmkt_class(&state);               when the sample ends, or after any step
 */
#ifndef TMKT_NETWORK_H
#define TMKT_NETWORK_H

#include <stdint.h>

#define TMKT_INPUT_CHANNELS ${channels}
#define TMKT_INPUT_HEIGHT ${height}
#define TMKT_INPUT_WIDTH ${width}
#define TMKT_INPUT_SIZE ${input_size}
#define TMKT_MAX_COUNT ${max_count}
#define TMKT_CLASSES ${classes}
#define TMKT_LAYERS ${layers}

/* All that the network remembers. Arrays of neurons are in the order height, width, channels. */
typedef struct {
${state}} tmkt_state;

#ifdef __cplusplus
extern "C" {
#endif

/* Starts a sample: nothing has happened yet. */
void tmkt_reset(tmkt_state *state);

/* One time step. input: TMKT_INPUT_SIZE event counts in the order channels, height, width; \
more than TMKT_MAX_COUNT count as that many. */
void tmkt_step(tmkt_state *state, const uint8_t *input);

/* The read-out's value for one class, 0 to TMKT_CLASSES - 1: ${readout}. */
int32_t tmkt_readout(const tmkt_state *state, int32_t class_index);

/* The class of the largest value, the lowest one among equals. */
int32_t tmkt_class(const tmkt_state *state);

/* What a layer, 0 to TMKT_LAYERS - 1, sent in the last step: \
a 0 or 1 a neuron, height, width, channels. A null pointer if it never fires. */
const uint8_t *tmkt_spikes(const tmkt_state *state, int32_t layer);

#ifdef __cplusplus
}
#endif

#endif
""")

HELPERS = """\
#include "network.h"

#include <stddef.h>

/* What a state of x keeps: x * keep / 4096, rounded toward zero, without leaving 32 bits. */
static int32_t kept(int32_t x, int32_t keep)
{
    return x / 4096 * keep + x % 4096 * keep / 4096;
}

/* The chip's 24-bit current: it wraps once, and 2^23 itself stays. */
static int32_t wrapped(int32_t u)
{
    return u > 8388608 ? u - 16777216 : u <= -8388608 ? u + 16777216 : u;
}

/* The chip's 24-bit membrane: it saturates. */
static int32_t clipped(int32_t v)
{
    return v > 8388607 ? 8388607 : v < -8388607 ? -8388607 : v;
}

static void clear(int32_t *values, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        values[i] = 0;
}
"""

# Where a kept current and input may leave 32 bits (c_range.py).
ADDED = """
/* The sum wraps to 32 bits. */
static int32_t added(int32_t x, int32_t y)
{
    const uint32_t sum = (uint32_t)x + (uint32_t)y;
    return sum <= INT32_MAX ? (int32_t)sum : -1 - (int32_t)(UINT32_MAX - sum);
}
"""

# Reads one site of a source into `value` and goes on to the next one where it is 0.
READ = Template("""\
                if (source[${at}] == 0)
                    continue;
                const int32_t value = ${value};
""")

READ_POOL = Template("""\
                int32_t value = 0;
                for (int32_t py = 0; py < ${pool}; py++)
                    for (int32_t px = 0; px < ${pool}; px++)
                        value += ${read};
                if (value == 0)
                    continue;
                value *= ${factor};
""")

CONV = Template("""
/* Adds what ${source} sends through a convolution: ${taps_y} x ${taps_x}, \
stride ${stride_y} x ${stride_x}, padding ${padding_y} x ${padding_x}. */
static void ${name}(const uint8_t *source, int32_t *restrict sums)
{
    for (int32_t y = 0; y < ${height}; y++)
        for (int32_t x = 0; x < ${width}; x++)
            for (int32_t c = 0; c < ${channels}; c++) {
${read}\
                const int8_t *const weights = ${name}_weight + c * ${weights_a_channel};
                const int32_t first = c / ${channels_a_group} * ${outputs_a_group};
                for (int32_t ky = 0; ky < ${taps_y}; ky++) {
                    const int32_t down = y + ${padding_y} - ky * ${dilation_y};
                    if (down < 0 || down % ${stride_y} != 0 || down / ${stride_y} >= ${out_height})
                        continue;
                    for (int32_t kx = 0; kx < ${taps_x}; kx++) {
                        const int32_t right = x + ${padding_x} - kx * ${dilation_x};
                        if (right < 0 || right % ${stride_x} != 0 || \
right / ${stride_x} >= ${out_width})
                            continue;
                        int32_t *const to = sums + (down / ${stride_y} * ${out_width} + \
right / ${stride_x}) * ${out_channels} + first;
                        const int8_t *const weight = weights + \
(ky * ${taps_x} + kx) * ${outputs_a_group};
                        for (int32_t o = 0; o < ${outputs_a_group}; o++)
                            to[o] += weight[o] * value;
                    }
                }
            }
}
""")

DENSE = Template("""
/* Adds what ${source} sends through a dense synapse. */
static void ${name}(const uint8_t *source, int32_t *restrict sums)
{
    for (int32_t y = 0; y < ${height}; y++)
        for (int32_t x = 0; x < ${width}; x++)
            for (int32_t c = 0; c < ${channels}; c++) {
${read}\
                const int8_t *const weight = ${name}_weight + \
((y * ${width} + x) * ${channels} + c) * ${outputs};
                for (int32_t o = 0; o < ${outputs}; o++)
                    sums[o] += weight[o] * value;
            }
}
""")

DELAYED = Template("""
/* Adds what ${source} sends through a dense synapse with delays \
to the sums of the steps in which it arrives. */
static void ${name}(const uint8_t *source, int32_t *restrict ring, int32_t now)
{
    for (int32_t y = 0; y < ${height}; y++)
        for (int32_t x = 0; x < ${width}; x++)
            for (int32_t c = 0; c < ${channels}; c++) {
${read}\
                const int32_t first = ((y * ${width} + x) * ${channels} + c) * ${outputs};
                for (int32_t o = 0; o < ${outputs}; o++) {
                    int32_t slot = now + ${name}_delay[first + o];
                    if (slot >= ${slots})
                        slot -= ${slots};
                    ring[slot * ${outputs} + o] += ${name}_weight[first + o] * value;
                }
            }
}
""")

UPDATE = Template("""
/* One step of the neurons of ${name}. */
static void ${name}_update(tmkt_state *state, const int32_t *sums)
{
    for (int32_t i = 0; i < ${positions}; i++)
        for (int32_t c = 0; c < ${channels}; c++) {
            const int32_t n = i * ${channels} + c;
            const int32_t u = wrapped(${current});
${keep_current}\
            const int32_t v = clipped(${membrane} + u + (int32_t)${name}_bias[c] * 64);
${end}\
        }
}
""")

FIRE = Template("""\
            const int32_t fires = v > ${threshold};
            state->${name}.spikes[n] = (uint8_t)fires;
            state->${name}.v[n] = fires ? 0 : v;
""")

RESET = """
void tmkt_reset(tmkt_state *state)
{
    unsigned char *const bytes = (unsigned char *)state;
    for (size_t i = 0; i < sizeof *state; i++)
        bytes[i] = 0;
}
"""

STEP = Template("""
void tmkt_step(tmkt_state *state, const uint8_t *input)
{
${body}}
""")

COUNT = Template("""\
    for (int32_t i = 0; i < TMKT_CLASSES; i++)
        if (state->${name}.spikes[i] && state->counts[i] < INT32_MAX)
            state->counts[i]++;
""")

READOUT = Template("""
int32_t tmkt_readout(const tmkt_state *state, int32_t class_index)
{
    return ${values}[class_index % ${positions} * ${channels} + class_index / ${positions}];
}

int32_t tmkt_class(const tmkt_state *state)
{
    int32_t best = 0;
    for (int32_t i = 1; i < TMKT_CLASSES; i++)
        if (tmkt_readout(state, i) > tmkt_readout(state, best))
            best = i;
    return best;
}

const uint8_t *tmkt_spikes(const tmkt_state *state, int32_t layer)
{
    switch (layer) {
${cases}\
    default:
        (void)state;
        return 0;
    }
}
""")
