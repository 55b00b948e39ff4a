/* A spiking network in integers: 4 layers, 3594 neurons, 11024 weights. No heap, no floating point, no library.
 *
 * RAM: sizeof(tmkt_state) = 26152 bytes. Constants: 11156 bytes; the code comes on top, and a few dozen bytes of stack.
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
        int32_t v[2048];
        uint8_t spikes[2048];
    } layer_conv1;
    struct {
        int32_t v[1024];
        uint8_t spikes[1024];
    } layer_conv2;
    struct {
        int32_t v[512];
        uint8_t spikes[512];
    } layer_conv3;
    struct {
        int32_t v[10];
    } layer_readout;
    int32_t sums[2048]; /* of the layer at work */
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

/* What a layer, 0 to TMKT_LAYERS - 1, sent in the last step: a 0 or 1 a neuron, height, width, channels. A null pointer if it never fires. */
const uint8_t *tmkt_spikes(const tmkt_state *state, int32_t layer);

#ifdef __cplusplus
}
#endif

#endif
