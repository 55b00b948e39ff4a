/* Classifies recordings on standard input: BINS frames of event counts each, TMKT_INPUT_SIZE bytes a frame.
   Prints a class a line. On a microcontroller, the frames come from the camera instead. */
#include <stdio.h>
#include "network.h"

#ifndef BINS
#error "give the time bins of a recording: cc -DBINS=10"
#endif

static tmkt_state state;
static uint8_t counts[TMKT_INPUT_SIZE];

int main(void)
{
    for (;;) {
        tmkt_reset(&state);
        for (int step = 0; step < BINS; step++) {
            if (fread(counts, 1, sizeof counts, stdin) != sizeof counts)
                return step != 0 || ferror(stdin);
            tmkt_step(&state, counts);
        }
        printf("%d\n", (int)tmkt_class(&state));
    }
}
