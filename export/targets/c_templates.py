"""Templates of the C99 that export/targets/c.py fills in: one for each part that a program may
need, so that a file holds nothing that it does not use. A backslash at a line's end joins it with
the next.
"""

from string import Template

HEADER = Template("""\
/* A spiking network in integers: ${layers} layers, ${neurons} neurons, ${weights} weights. \
No heap, no floating point, no library.
 *
 * RAM: sizeof(tmkt_state) = ${ram} bytes. Constants: ${flash} bytes; \
the code comes on top, and some hundred bytes of stack.
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

/* Copies what a layer, 0 to TMKT_LAYERS - 1, sent in the last step: \
a 0 or 1 a neuron, height, width, channels. Returns the number of neurons; 0 if it never fires. */
int32_t tmkt_spikes(const tmkt_state *state, int32_t layer, uint8_t *spikes);
${events}\

#ifdef __cplusplus
}
#endif

#endif
""")

START = """\
#include "network.h"

#include <stddef.h>

/* Kept apart, functions have registers of their own. */
#ifdef __GNUC__
#define TMKT_APART __attribute__((noinline))
#else
#define TMKT_APART
#endif
"""

KEPT = """
/* What a state of x keeps: x * keep / 4096, rounded toward zero, without leaving 32 bits. */
static int32_t kept(int32_t x, int32_t keep)
{
    return x / 4096 * keep + x % 4096 * keep / 4096;
}
"""

WRAPPED = """
/* The chip's 24-bit current: it wraps once, and 2^23 itself stays. */
static int32_t wrapped(int32_t u)
{
    return u > 8388608 ? u - 16777216 : u <= -8388608 ? u + 16777216 : u;
}
"""

CLIPPED = """
/* The chip's 24-bit membrane: it saturates. */
static int32_t clipped(int32_t v)
{
    return v > 8388607 ? 8388607 : v < -8388607 ? -8388607 : v;
}
"""

NUMBER = """
/* The number that 32 bits hold. */
static int32_t number(uint32_t bits)
{
    return bits <= INT32_MAX ? (int32_t)bits : -1 - (int32_t)(UINT32_MAX - bits);
}
"""

# Where a kept current and input may leave 32 bits (c_range.py).
ADDED = """
/* The sum wraps to 32 bits. */
static int32_t added(int32_t x, int32_t y)
{
    return number((uint32_t)x + (uint32_t)y);
}
"""

LOWER = """
/* The lower one of two sums in a word, 16 bits with their sign. */
static int32_t lower(uint32_t pair)
{
    return (int32_t)((pair & 0xFFFFu) ^ 0x8000u) - 0x8000;
}
"""

UPPER = """
/* The upper one, which has lent to the lower one where that is negative. */
static int32_t upper(uint32_t pair)
{
    return lower((pair + 0x8000u) >> 16);
}
"""

LOWEST = """
/* The place of the lowest bit that is 1 (de Bruijn). */
static int32_t lowest(uint32_t bits)
{
    static const uint8_t places[32] = {0, 1, 28, 2, 29, 14, 24, 3, 30, 22, 20, 15, 25, 17, 4, 8, \
31, 27, 13, 23, 21, 19, 16, 7, 26, 12, 18, 6, 11, 5, 10, 9};
    return places[((bits & (0u - bits)) * 0x077CB531u) >> 27];
}
"""

MEMBRANE = """
/* A membrane of 24 bits. */
static int32_t membrane(uint32_t low, uint32_t high)
{
    return (int32_t)((low | high << 16) ^ 0x800000u) - 0x800000;
}
"""

CLEAR = Template("""
static void ${name}(${kind} *values, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        values[i] = 0;
}
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
        if (${fired} && state->counts[i] < INT32_MAX)
            state->counts[i]++;
""")

READOUT = Template("""
int32_t tmkt_readout(const tmkt_state *state, int32_t class_index)
{
    const int32_t n = class_index % ${positions} * ${channels} + class_index / ${positions};
    return ${value};
}

int32_t tmkt_class(const tmkt_state *state)
{
    int32_t best = 0;
    for (int32_t i = 1; i < TMKT_CLASSES; i++)
        if (tmkt_readout(state, i) > tmkt_readout(state, best))
            best = i;
    return best;
}

int32_t tmkt_spikes(const tmkt_state *state, int32_t layer, uint8_t *spikes)
{
    switch (layer) {
${cases}\
    default:
        (void)state;
        (void)spikes;
        return 0;
    }
}
""")

SPIKES = Template("""\
    case ${number}:
        for (int32_t i = 0; i < ${neurons}; i++)
            spikes[i] = (uint8_t)${fired};
        return ${neurons};
""")
