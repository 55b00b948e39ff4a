/* Runs frames through a network and counts instructions. Reads the file "frames"; writes "answers":
   of each sample the read-out of all classes; then what all steps counted (64 bits, the low word
   first), and the bytes of stack. */
#include "board.h"
#include "network.h"

enum { OPEN = 0x01, WRITE = 0x05, READ = 0x06 };
enum { READ_BINARY = 1, WRITE_BINARY = 5 };

static tmkt_state state;
static uint8_t frame[TMKT_INPUT_SIZE];

static uint32_t open_file(const char *name, uint32_t length, uint32_t mode)
{
    const uint32_t arguments[3] = {(uint32_t)(uintptr_t)name, mode, length};
    return board_ask(OPEN, arguments);
}

/* Reads or writes; returns the bytes that are missing. */
static uint32_t transfer(uint32_t operation, uint32_t file, const void *at, uint32_t bytes)
{
    const uint32_t arguments[3] = {file, (uint32_t)(uintptr_t)at, bytes};
    return board_ask(operation, arguments);
}

int main(void)
{
    const uint32_t frames = open_file("frames", 6, READ_BINARY);
    const uint32_t answers = open_file("answers", 7, WRITE_BINARY);
    uint64_t counted = 0;
    board_count_from_now();
    for (int32_t step = 0; transfer(READ, frames, frame, sizeof frame) == 0; step++) {
        if (step % TMKT_BINS == 0)
            tmkt_reset(&state);
        const uint32_t before = board_count();
        tmkt_step(&state, frame);
        counted += (board_count() - before) & BOARD_MASK;
        for (int32_t k = 0; step % TMKT_BINS == TMKT_BINS - 1 && k < TMKT_CLASSES; k++) {
            const int32_t value = tmkt_readout(&state, k);
            if (transfer(WRITE, answers, &value, sizeof value) != 0)
                return 1;
        }
    }
    const uint32_t end[3] = {(uint32_t)counted, (uint32_t)(counted >> 32), board_stack_used()};
    return transfer(WRITE, answers, end, sizeof end) != 0;
}
