/* Runs frames through a network and counts instructions: the emulator counts one a nanosecond, and
   SysTick's clock ticks once in `NS_A_TICK`. Reads the file "frames", writes "answers": of each
   sample the read-out of all classes, then the ticks of all steps (64 bits, low word first), and
   the bytes of stack. */
#include "board.h"
#include "network.h"

#define SYSTICK ((volatile uint32_t *)0xE000E010u)
#define TICKS 0xFFFFFFu

static tmkt_state state;
static uint8_t frame[TMKT_INPUT_SIZE];

static uint32_t open_file(const char *name, uint32_t length, uint32_t mode)
{
    const uint32_t arguments[3] = {(uint32_t)(uintptr_t)name, mode, length};
    return semihosting(0x01, arguments);
}

static uint32_t transfer(uint32_t operation, uint32_t file, void *at, uint32_t bytes)
{
    const uint32_t arguments[3] = {file, (uint32_t)(uintptr_t)at, bytes};
    return semihosting(operation, arguments); /* the bytes that are missing */
}

int main(void)
{
    const uint32_t frames = open_file("frames", 6, 1), answers = open_file("answers", 7, 5);
    uint64_t ticks = 0;
    SYSTICK[1] = TICKS;
    SYSTICK[2] = 0;
    SYSTICK[0] = 5; /* the processor's clock, no interrupt */
    for (int32_t step = 0; transfer(0x06, frames, frame, sizeof frame) == 0; step++) {
        if (step % STEPS == 0)
            tmkt_reset(&state);
        const uint32_t before = SYSTICK[2];
        tmkt_step(&state, frame);
        ticks += (before - SYSTICK[2]) & TICKS;
        for (int32_t k = 0; step % STEPS == STEPS - 1 && k < TMKT_CLASSES; k++) {
            int32_t value = tmkt_readout(&state, k);
            if (transfer(0x05, answers, &value, sizeof value) != 0)
                return 1;
        }
    }
    uint32_t end[3] = {(uint32_t)ticks, (uint32_t)(ticks >> 32), stack_used()};
    return transfer(0x05, answers, end, sizeof end) != 0;
}
