"""Templates of the C99 of a layer's step, which c_neurons.py fills in. A backslash at a line's end
joins it with the next.
"""

from string import Template

# The neurons of a position, as many as one word holds the spikes of: ${name}_neurons(state, first
# neuron, its sums, what they have too much).
NEURONS = Template("""
/* One step of ${name}'s neurons at one position; returns their spikes, a bit each. */
static TMKT_APART uint32_t ${name}_neurons(tmkt_state *state, int32_t n, int32_t c0, \
const ${sum} *restrict sums${less_parameter})
{
    uint16_t *restrict low = state->${name}.low + n;
    uint8_t *restrict high = state->${name}.high + n;
    const int16_t *restrict bias = ${name}_bias + c0;
${currents}\
    const int16_t *const end = ${end};
${fired}\
    do {
${each}\
    } while (bias != end);
${result}\
}
""")

# One neuron, with the sum `sum`.
NEURON = Template("""\
        {
            const int32_t u = ${current};
${keep_current}\
            ${mutable}int32_t v = ${membrane};
${fire}\
            *low++ = (uint16_t)((uint32_t)v & 0xFFFFu);
            *high++ = (uint8_t)((uint32_t)v >> 16 & 0xFFu);
${shift}\
        }
""")

FIRE = Template("""\
            if (v > ${threshold}) {
                fired |= bit;
                v = 0;
            }
""")

PAIR = """\
        const uint32_t pair = *sums++ - less;
"""

# Between the two neurons of a pair where channels are odd.
HALF_PAIR = """\
        if (bias == end)
            break;
"""

POSITIONS = Template("""\
        for (int32_t i = 0; i < ${count}; i++) {
            const int32_t position = ${begin}i;
${each}\
        }
""")

WORD = Template("""\
            ${target}${name}_neurons(state, position * ${channels}${offset}, ${c0}, \
${sums}${less});
""")

LAYER = Template("""
/* One step of ${name}. */
static TMKT_APART void ${name}(tmkt_state *state${input_parameter})
{
    for (int32_t row = 0; row < ${height}; row += ${rows}) {
        clear(state->sums, ${sums});
        clear(state->taps, ${taps});
${calls}\
${neurons}\
    }
}
""")

RING_LAYER = Template("""
/* One step of ${name}. */
static TMKT_APART void ${name}(tmkt_state *state${input_parameter})
{
    const int32_t now = state->${name}.now;
    int32_t *const late = state->${name}.late + now * ${layer_neurons};
${calls}\
    {
${neurons}\
    }
    clear_late(late, ${layer_neurons});
    state->${name}.now = now + 1 == ${slots} ? 0 : now + 1;
${after}\
}
""")
