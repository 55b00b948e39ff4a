/* Starts a bare Cortex-M: vector table, data and bss, then main. Paints the stack, so that
   stack_used() can say how deep it went. */
#include <stddef.h>
#include <stdint.h>

#include "board.h"

extern uint32_t data_load[], data_begin[], data_end[], bss_begin[], bss_end[];
extern uint32_t stack_bottom[], stack_top[];
extern int main(void);
void start(void);

#define PAINT 0xA5A5A5A5u

static void stop(void)
{
    finish(1);
}

void start(void)
{
    for (uint32_t *to = data_begin, *from = data_load; to < data_end;)
        *to++ = *from++;
    for (uint32_t *to = bss_begin; to < bss_end;)
        *to++ = 0;
    uint32_t here;
    for (uint32_t *to = stack_bottom; to < (uint32_t *)((uintptr_t)&here - 64);)
        *to++ = PAINT;
    finish(main());
}

/* Word 0: the stack. Then reset and the exceptions up to SysTick; interrupts stay off. */
__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    stack_top, (void *)start, (void *)stop, (void *)stop, (void *)stop, (void *)stop,
    (void *)stop, NULL, NULL, NULL, NULL, (void *)stop, (void *)stop, NULL, (void *)stop,
    (void *)stop,
};

uint32_t stack_used(void)
{
    const uint32_t *at = stack_bottom;
    while (at < stack_top && *at == PAINT)
        at++;
    return (uint32_t)((uintptr_t)stack_top - (uintptr_t)at);
}

uint32_t semihosting(uint32_t operation, const void *arguments)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void finish(int code)
{
    const uint32_t arguments[2] = {0x20026, (uint32_t)code}; /* an exit by the application */
    for (;;)
        semihosting(0x20, arguments);
}
