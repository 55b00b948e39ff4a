"""Templates of the C99 that makes decisions of events, which c_events.py fills in. A backslash at a
line's end joins it with the next.
"""

from string import Template

NO_CARRY = """\
#if TMKT_CARRY
#error "the read-out forgets by itself: a state that goes on needs one that adds up"
#endif
"""

HEADER = Template("""
/* From a camera's events to decisions, as `tmkt stream` makes them.
 *
 *     static tmkt_stream stream;
 *     tmkt_start(&stream);
 *     for each event:    while (tmkt_event(&stream, t_us, x, y, p)) use(&stream.answer);
 *     now and then:      while (tmkt_tick(&stream, now_us)) use(&stream.answer);
 *
 * What follows may be given to the compiler, as in -DTMKT_SENSOR_WIDTH=346. */
#define TMKT_BINS ${bins}       /* of a recording */
#define TMKT_BIN_US ${bin_us}   /* microseconds */

#ifndef TMKT_SENSOR_WIDTH       /* pixels of the camera */
#define TMKT_SENSOR_WIDTH TMKT_INPUT_WIDTH
#endif
#ifndef TMKT_SENSOR_HEIGHT
#define TMKT_SENSOR_HEIGHT TMKT_INPUT_HEIGHT
#endif
#define TMKT_LESSER(a, b) ((a) < (b) ? (a) : (b))
#ifndef TMKT_FACTOR             /* FACTOR x FACTOR pixels are one of the network's */
#if TMKT_SENSOR_WIDTH < 2 * TMKT_INPUT_WIDTH || TMKT_SENSOR_HEIGHT < 2 * TMKT_INPUT_HEIGHT
#define TMKT_FACTOR 1
#else
#define TMKT_FACTOR TMKT_LESSER(TMKT_SENSOR_WIDTH / TMKT_INPUT_WIDTH, \\
                                TMKT_SENSOR_HEIGHT / TMKT_INPUT_HEIGHT)
#endif
#endif
#ifndef TMKT_LEFT               /* the first pixel that is seen; the middle of the sensor */
#define TMKT_LEFT TMKT_HALF(TMKT_SENSOR_WIDTH - TMKT_FACTOR * TMKT_INPUT_WIDTH)
#endif
#ifndef TMKT_TOP
#define TMKT_TOP TMKT_HALF(TMKT_SENSOR_HEIGHT - TMKT_FACTOR * TMKT_INPUT_HEIGHT)
#endif
#define TMKT_HALF(n) (((n) - ((n) < 0 && (n) % 2 != 0)) / 2)

#ifndef TMKT_WINDOW             /* bins that an answer rests on */
#define TMKT_WINDOW TMKT_BINS
#endif
#ifndef TMKT_CARRY              /* 0: each window from zero, as trained. 1: a state that goes on */
#define TMKT_CARRY 0
#endif
#ifndef TMKT_STRIDE             /* bins from one answer to the next */
#define TMKT_STRIDE (TMKT_CARRY ? 1 : TMKT_WINDOW)
#endif
#ifndef TMKT_MIN_EVENTS         /* with fewer in its window nothing is decided */
#define TMKT_MIN_EVENTS 1
#endif
#define TMKT_MARGIN_UNIT ${unit} /* a margin of 1 of tmkt stream */
#ifndef TMKT_MARGIN             /* the lead that decides before the window ends; -1: none does */
#define TMKT_MARGIN (-1)
#endif
#ifndef TMKT_HOLD               /* bins in a row that the lead must hold */
#define TMKT_HOLD 1
#endif
${carry}\
#if !TMKT_CARRY && TMKT_STRIDE != TMKT_WINDOW
#error "windows of their own cannot overlap here"
#endif

extern const char *const tmkt_names[TMKT_CLASSES];

typedef struct {
    uint32_t time_us;    /* end of the last bin that it rests on */
    int32_t decided;     /* 0: the rule is not met, and the class is only what leads */
    int32_t class_index;
    int32_t margin;      /* its lead over the second, in the read-out's units */
    int32_t bins;
    int32_t events;      /* in these bins */
} tmkt_answer;

typedef struct {
    tmkt_state network;
    tmkt_answer answer;
    uint32_t bin_us;     /* when the bin at work began */
    uint32_t last_us;    /* the last event */
    int32_t started, open, bin, events, window_events, leads, held;
    uint8_t counts[TMKT_INPUT_SIZE];
#if TMKT_CARRY
    int32_t readouts[TMKT_WINDOW][TMKT_CLASSES];
    int32_t in_bin[TMKT_WINDOW];
    int32_t slot, full, phase;
    int32_t met;         /* whether the bin at work has an event on the sensor */
    uint32_t quiet;      /* bins without any before it */
#endif
} tmkt_stream;

/* Begins a stream. */
void tmkt_start(tmkt_stream *stream);

/* Takes an event: microseconds on a clock that may run over 32 bits, pixel, polarity (0 off, 1 on).
 * 1: an answer is in stream->answer, and the event waits; call again. 0: the event is taken.
 * Events off the sensor or before the last one are dropped. */
int32_t tmkt_event(tmkt_stream *stream, uint32_t t_us, int32_t x, int32_t y, int32_t p);

/* Says that no event before t_us comes any more. 1: an answer is in stream->answer; call again. */
int32_t tmkt_tick(tmkt_stream *stream, uint32_t t_us);
""")

SOURCE = Template("""
const char *const tmkt_names[TMKT_CLASSES] = {${names}};

void tmkt_start(tmkt_stream *stream)
{
    unsigned char *const bytes = (unsigned char *)stream;
    for (size_t i = 0; i < sizeof *stream; i++)
        bytes[i] = 0;
    stream->leads = -1;
}

/* The rule, after a bin: 1 if the class that leads is decided. */
static int32_t confident(tmkt_stream *stream, int32_t best, int32_t margin, int32_t events)
{
    if (${nothing}events < TMKT_MIN_EVENTS || (TMKT_MARGIN >= 0 && margin < TMKT_MARGIN)) {
        stream->leads = -1;
        stream->held = 0;
        return 0;
    }
    stream->held = best == stream->leads ? stream->held + 1 : 1;
    stream->leads = best;
    return stream->held >= TMKT_HOLD;
}

/* Reads the values of all classes and sets the answer, but for its time. */
static void read_out(tmkt_stream *stream, const int32_t *values, int32_t bins, int32_t events)
{
    int32_t best = 0, second = 0;
    for (int32_t i = 1; i < TMKT_CLASSES; i++)
        if (values[i] > values[best])
            best = i;
    second = TMKT_CLASSES > 1 && best == 0;
    for (int32_t i = 0; i < TMKT_CLASSES; i++)
        if (i != best && values[i] > values[second])
            second = i;
    tmkt_answer *const answer = &stream->answer;
    answer->class_index = best;
    answer->margin = TMKT_CLASSES > 1 ? values[best] - values[second] : 0;
    answer->bins = bins;
    answer->events = events;
    answer->decided = confident(stream, best, answer->margin, events);
    answer->time_us = stream->bin_us + TMKT_BIN_US;
}

static void empty(uint8_t *counts)
{
    for (int32_t i = 0; i < TMKT_INPUT_SIZE; i++)
        counts[i] = 0;
}

#if TMKT_CARRY
static const uint32_t restart_after = 10 * TMKT_WINDOW; /* bins without an event */

/* The bin at work is complete: 1 if an answer is due. */
static int32_t bin_is_complete(tmkt_stream *stream)
{
    int32_t values[TMKT_CLASSES], events = 0;
    tmkt_state *const network = &stream->network;
    tmkt_step(network, stream->counts);
    int32_t *const readout = stream->readouts[stream->slot];
    for (int32_t i = 0; i < TMKT_CLASSES; i++)
        readout[i] = tmkt_readout(network, i);
    for (int32_t i = 0; i < ${neurons}; i++) {
${clear}\
    }
    stream->in_bin[stream->slot] = stream->events;
    stream->slot = (stream->slot + 1) % TMKT_WINDOW;
    stream->full += stream->full < TMKT_WINDOW;
    stream->phase = (stream->phase + 1) % TMKT_STRIDE;
    stream->quiet = stream->met ? 0 : stream->quiet + 1;
    stream->met = 0;
    for (int32_t i = 0; i < TMKT_CLASSES; i++) {
        values[i] = 0;
        for (int32_t bin = 0; bin < TMKT_WINDOW; bin++)
            values[i] += stream->readouts[bin][i];
    }
    for (int32_t bin = 0; bin < TMKT_WINDOW; bin++)
        events += stream->in_bin[bin];
    read_out(stream, values, TMKT_WINDOW, events);
    return stream->full == TMKT_WINDOW && stream->phase == 0;
}

/* Forgets all but the time: the next bin is `bins` after the one at work. */
static void start_anew(tmkt_stream *stream, uint32_t bins)
{
    const uint32_t bin_us = stream->bin_us + bins * TMKT_BIN_US;
    const int32_t phase = (int32_t)(((uint32_t)stream->phase + bins) % TMKT_STRIDE);
    tmkt_start(stream);
    stream->started = 1;
    stream->bin_us = bin_us;
    stream->phase = phase;
}
#else
/* The bin at work is complete: 1 if an answer is due. */
static int32_t bin_is_complete(tmkt_stream *stream)
{
    int32_t values[TMKT_CLASSES], due = 0;
    if (stream->open == 0 && stream->events > 0) { /* the window's first event */
        static const uint8_t nothing[TMKT_INPUT_SIZE];
        stream->open = 1;
        stream->window_events = 0;
        stream->leads = -1;
        stream->held = 0;
        tmkt_reset(&stream->network);
        for (int32_t bin = 0; bin < stream->bin; bin++) {
            tmkt_step(&stream->network, nothing);
            for (int32_t i = 0; i < TMKT_CLASSES; i++)
                values[i] = tmkt_readout(&stream->network, i);
            read_out(stream, values, bin + 1, 0);
        }
    }
    if (stream->open == 1) {
        tmkt_step(&stream->network, stream->counts);
        stream->window_events += stream->events;
        for (int32_t i = 0; i < TMKT_CLASSES; i++)
            values[i] = tmkt_readout(&stream->network, i);
        read_out(stream, values, stream->bin + 1, stream->window_events);
        due = stream->bin + 1 == TMKT_WINDOW || (TMKT_MARGIN >= 0 && stream->answer.decided);
        stream->open = due ? 2 : 1;
    }
    stream->bin++;
    if (stream->bin == TMKT_WINDOW) {
        stream->bin = 0;
        stream->open = 0;
    }
    return due;
}
#endif

int32_t tmkt_tick(tmkt_stream *stream, uint32_t t_us)
{
    while (stream->started && t_us - stream->bin_us >= TMKT_BIN_US && \
t_us - stream->bin_us <= INT32_MAX) {
        const int32_t due = bin_is_complete(stream);
        if (stream->events > 0)
            empty(stream->counts);
        stream->events = 0;
        stream->bin_us += TMKT_BIN_US;
        if (due)
            return 1;
#if !TMKT_CARRY
        if (stream->open != 1) { /* nothing is run before the next event */
            const uint32_t bins = (t_us - stream->bin_us) / TMKT_BIN_US;
            const uint32_t bin = (uint32_t)stream->bin + bins;
            stream->open = bin >= TMKT_WINDOW ? 0 : stream->open;
            stream->bin = (int32_t)(bin % TMKT_WINDOW);
            stream->bin_us += bins * TMKT_BIN_US;
        }
#endif
    }
    return 0;
}

int32_t tmkt_event(tmkt_stream *stream, uint32_t t_us, int32_t x, int32_t y, int32_t p)
{
    if (x < 0 || x >= TMKT_SENSOR_WIDTH || y < 0 || y >= TMKT_SENSOR_HEIGHT || p < 0 || p > 1)
        return 0;
    if (!stream->started) {
        stream->started = 1;
        stream->bin_us = t_us;
        stream->last_us = t_us;
    }
    if (t_us - stream->last_us > INT32_MAX)
        return 0;
#if TMKT_CARRY
    const uint32_t bins = (t_us - stream->bin_us) / TMKT_BIN_US;
    if (!stream->met && bins + stream->quiet > restart_after)
        start_anew(stream, bins);
    stream->last_us = t_us; /* start_anew forgot it */
#endif
    if (tmkt_tick(stream, t_us))
        return 1;
    stream->last_us = t_us;
#if TMKT_CARRY
    stream->met = 1;
#endif
    const int32_t right = x - TMKT_LEFT, down = y - TMKT_TOP;
    if (right < 0 || right >= TMKT_FACTOR * TMKT_INPUT_WIDTH || down < 0 || \
down >= TMKT_FACTOR * TMKT_INPUT_HEIGHT)
        return 0;
    uint8_t *const count = stream->counts + \
(p * TMKT_INPUT_HEIGHT + down / TMKT_FACTOR) * TMKT_INPUT_WIDTH + right / TMKT_FACTOR;
    *count = (uint8_t)(*count + (*count < TMKT_MAX_COUNT));
    stream->events++;
    return 0;
}
""")
