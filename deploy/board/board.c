/* Start of a program on a bare board: its stack is painted, its data copied, its bss cleared. */
#include "board.h"

#define PAINT 0xA5A5A5A5u

extern uint32_t data_load[], data_begin[], data_end[], bss_begin[], bss_end[];
extern uint32_t stack_bottom[], stack_top[];
int main(void);
void board_begin(void) __attribute__((noreturn));

/* Compilers put calls of these for loops and assignments. */
void *memset(void *to, int byte, size_t count)
{
    volatile unsigned char *bytes = to;
    for (size_t i = 0; i < count; i++)
        bytes[i] = (unsigned char)byte;
    return to;
}

void *memcpy(void *to, const void *from, size_t count)
{
    volatile unsigned char *bytes = to;
    for (size_t i = 0; i < count; i++)
        bytes[i] = ((const unsigned char *)from)[i];
    return to;
}

void board_begin(void)
{
    const uint32_t *from = data_load;
    for (uint32_t *to = data_begin; to < data_end;)
        *to++ = *from++;
    for (uint32_t *to = bss_begin; to < bss_end;)
        *to++ = 0;
    uint32_t here;
    uint32_t *const below = (uint32_t *)((uintptr_t)&here - 128); /* this function's own */
    for (uint32_t *to = stack_bottom; to < below;)
        *to++ = PAINT;
    board_end(main());
}

uint32_t board_stack_used(void)
{
    const uint32_t *at = stack_bottom;
    while (at < stack_top && *at == PAINT)
        at++;
    return (uint32_t)((uintptr_t)stack_top - (uintptr_t)at);
}

void board_end(int code)
{
    const uint32_t arguments[2] = {0x20026, (uint32_t)code}; /* the application's own exit */
    for (;;)
        board_ask(0x20, arguments);
}
