/* A spiking network in integers: 4 layers, 3594 neurons, 11024 weights. No heap, no floating point, no library.
 *
 * RAM: sizeof(tmkt_state) = 11552 bytes. Constants: 12212 bytes; the code comes on top, and some hundred bytes of stack.
 *
 *     static tmkt_state state;
 *     tmkt_reset(&state);                        before each sample
 *     tmkt_step(&state, counts);                 once a time step
 *     answer = tmkt_class(&state);               when the sample ends, or after any step
 */
#ifndef TMKT_NETWORK_H
#define TMKT_NETWORK_H

#include <stdint.h>

#define TMKT_INPUT_CHANNELS 2
#define TMKT_INPUT_HEIGHT 34
#define TMKT_INPUT_WIDTH 34
#define TMKT_INPUT_SIZE 2312
#define TMKT_MAX_COUNT 1
#define TMKT_CLASSES 10
#define TMKT_LAYERS 4

/* All that the network remembers. Arrays of neurons are in the order height, width, channels. */
typedef struct {
    struct {
        uint16_t low[2048]; /* of the membranes' 24 bits */
        uint8_t high[2048];
        uint8_t spikes[256]; /* a bit a channel */
    } layer_conv1;
    struct {
        uint16_t low[1024]; /* of the membranes' 24 bits */
        uint16_t spikes[64]; /* a bit a channel */
        uint8_t high[1024];
    } layer_conv2;
    struct {
        uint32_t spikes[16]; /* a bit a channel */
        uint16_t low[512]; /* of the membranes' 24 bits */
        uint8_t high[512];
    } layer_conv3;
    struct {
        uint16_t low[10]; /* of the membranes' 24 bits */
        uint8_t high[10];
    } layer_readout;
    uint32_t sums[64]; /* of the positions at work */
    uint32_t taps[16]; /* what the sums have too much */
} tmkt_state;

#ifdef __cplusplus
extern "C" {
#endif

/* Starts a sample: nothing has happened yet. */
void tmkt_reset(tmkt_state *state);

/* One time step. input: TMKT_INPUT_SIZE event counts in the order channels, height, width; more than TMKT_MAX_COUNT count as that many. */
void tmkt_step(tmkt_state *state, const uint8_t *input);

/* The read-out's value for one class, 0 to TMKT_CLASSES - 1: its membrane, in 1/64 of a weight. */
int32_t tmkt_readout(const tmkt_state *state, int32_t class_index);

/* The class of the largest value, the lowest one among equals. */
int32_t tmkt_class(const tmkt_state *state);

/* Copies what a layer, 0 to TMKT_LAYERS - 1, sent in the last step: a 0 or 1 a neuron, height, width, channels. Returns the number of neurons; 0 if it never fires. */
int32_t tmkt_spikes(const tmkt_state *state, int32_t layer, uint8_t *spikes);

/* From a camera's events to decisions, as `tmkt stream` makes them.
 *
 *     static tmkt_stream stream;
 *     tmkt_start(&stream);
 *     for each event:    while (tmkt_event(&stream, t_us, x, y, p)) use(&stream.answer);
 *     now and then:      while (tmkt_tick(&stream, now_us)) use(&stream.answer);
 *
 * What follows may be given to the compiler, as in -DTMKT_SENSOR_WIDTH=346. */
#define TMKT_BINS 10       /* of a recording */
#define TMKT_BIN_US 31600   /* microseconds */

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
#define TMKT_FACTOR TMKT_LESSER(TMKT_SENSOR_WIDTH / TMKT_INPUT_WIDTH, \
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
#define TMKT_MARGIN_UNIT 31680 /* a margin of 1 of tmkt stream */
#ifndef TMKT_MARGIN             /* the lead that decides before the window ends; -1: none does */
#define TMKT_MARGIN (-1)
#endif
#ifndef TMKT_HOLD               /* bins in a row that the lead must hold */
#define TMKT_HOLD 1
#endif
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

#ifdef __cplusplus
}
#endif

#endif
