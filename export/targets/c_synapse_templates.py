"""Templates of the C99 of synapses, which c_synapses.py puts together. A backslash at a line's end
joins it with the next.
"""

from string import Template

ADD = Template("""
/* Adds the weights from one source to the sums of a position. */
static void ${name}_add(uint32_t *restrict to, const uint32_t *restrict weight${value_parameter})
{
    for (int32_t i = 0; i < ${row}; i++) {
        const uint32_t word = weight[i];
${lines}\
    }
}
""")

CONV = Template("""
/* Adds what ${source} sends to a row of the outputs, through ${taps_y} x ${taps_x} taps, \
stride ${stride_y} x ${stride_x}, padding ${padding_y} x ${padding_x}. */
static TMKT_APART void ${name}(const ${kind} *restrict source, int32_t row, \
${sum} *restrict sums${more})
{
    for (int32_t ky = 0; ky < ${taps_y}; ky++) {
        const int32_t y = row * ${stride_y} - ${padding_y} + ky * ${dilation_y};
        if (y < 0 || y >= ${height})
            continue;
        for (int32_t x = 0; x < ${width}; x++) {
${sites}\
        }
    }
}
""")

DENSE = Template("""
/* Adds what ${source} sends through a dense synapse. */
static TMKT_APART void ${name}(const ${kind} *restrict source, \
${sum} *restrict sums${more})
{
    for (int32_t y = 0; y < ${height}; y++)
        for (int32_t x = 0; x < ${width}; x++) {
${sites}\
        }
}
""")

# The spikes of a position, a bit a channel.
BITS = Template("""\
            for (int32_t word = 0; word < ${words}; word++)
                for (uint32_t bits = source[(y * ${source_width} + x) * ${words} + word]; \
bits != 0; bits &= bits - 1u) {
                    const int32_t c = word * 32 + lowest(bits);
${deliver}\
                }
""")

POOLED_BITS = Template("""\
            for (int32_t part = 0; part < ${pool} * ${pool}; part++)
                for (int32_t word = 0; word < ${words}; word++)
                    for (uint32_t bits = source[((y * ${pool} + part / ${pool}) * \
${source_width} + x * ${pool} + part % ${pool}) * ${words} + word]; bits != 0; bits &= bits - 1u) {
                        const int32_t c = word * 32 + lowest(bits);
${deliver}\
                    }
""")

# The counts of a site, in the order channels, height, width.
COUNTS = Template("""\
            for (int32_t c = 0; c < ${channels}; c++) {
${read}\
${deliver}\
            }
""")

READ = Template("""\
                const int32_t at = (c * ${source_height} + y) * ${source_width} + x;
                if (source[at] == 0)
                    continue;
                const int32_t value = ${count} * ${factor};
""")

# Of counts that are 0 or 1.
READ_ONE = Template("""\
                if (source[(c * ${source_height} + y) * ${source_width} + x] == 0)
                    continue;
""")

READ_POOL = Template("""\
                int32_t value = 0;
                for (int32_t part = 0; part < ${pool} * ${pool}; part++) {
                    const int32_t at = (c * ${source_height} + y * ${pool} + part / ${pool}) * \
${source_width} + x * ${pool} + part % ${pool};
                    value += ${count};
                }
                if (value == 0)
                    continue;
                value *= ${factor};
""")

# What is done with the spike or count of channel c at (y, x): of a convolution, in each column that
# a tap reaches, PACKED_TAP or TAP; of a dense synapse, one of the others.
COLUMNS = Template("""\
                    for (int32_t kx = 0; kx < ${taps_x}; kx++) {
                        const int32_t right = x + ${padding_x} - kx * ${dilation_x};
                        const int32_t column = right / ${stride_x};
                        if (right < 0 || right % ${stride_x} != 0 || column >= ${out_width})
                            continue;
                        const int32_t from = (ky * ${taps_x} + kx) * ${channels} + c;
${tap}\
                    }
""")

PACKED_TAP = Template("""\
                        ${name}_add(sums + column * ${to}, \
${name}_weight + from * ${row}${value_argument});
                        taps[column] += ${half};
""")

TAP = Template("""\
                        const int8_t *const weight = ${name}_weight + from * ${outputs_a_group};
                        const int32_t first = c / ${channels_a_group} * ${outputs_a_group};
                        ${sum} *const to = sums + column * ${to};
                        for (int32_t o = 0; o < ${outputs_a_group}; o++)
                            ${put};
""")

PACKED_OUTPUTS = Template("""\
                    const int32_t from = (y * ${width} + x) * ${channels} + c;
                    ${name}_add(sums, ${name}_weight + from * ${row}${value_argument});
                    taps[0] += ${half};
""")

OUTPUTS = Template("""\
                    const int32_t from = (y * ${width} + x) * ${channels} + c;
                    const int8_t *weight = ${name}_weight + from * ${outputs};
                    ${sum} *to = sums;
                    const int32_t first = 0;
                    for (int32_t position = 0; position < ${positions}; position++) {
                        for (int32_t o = 0; o < ${out_channels}; o++)
                            ${put};
                        weight += ${out_channels};
                        to += ${to};
                    }
""")

LATER = Template("""\
                    const int32_t from = ((y * ${width} + x) * ${channels} + c) * ${outputs};
                    for (int32_t o = 0; o < ${outputs}; o++) {
                        int32_t slot = now + ${name}_delay[from + o];
                        if (slot >= ${slots})
                            slot -= ${slots};
                        sums[slot * ${outputs} + o] += ${name}_weight[from + o] * ${value};
                    }
""")
