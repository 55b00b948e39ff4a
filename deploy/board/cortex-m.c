/* Vectors, semihosting and SysTick of a Cortex-M. */
#include "board.h"

#define SYSTICK ((volatile uint32_t *)0xE000E010u)

extern uint32_t stack_top[];
void board_begin(void) __attribute__((noreturn));

static void fault(void)
{
    board_end(1);
}

static void reset(void)
{
#ifdef __ARM_FEATURE_MVE
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* lets vectors in */
    __asm__ volatile("dsb\n isb");
#endif
    board_begin();
}

/* Word 0: the stack. Then reset and the exceptions up to SysTick; interrupts stay off. */
__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    stack_top,     (void *)reset, (void *)fault, (void *)fault, (void *)fault,
    (void *)fault, (void *)fault,       NULL,          NULL,          NULL,
    NULL,          (void *)fault,       (void *)fault, NULL,          (void *)fault,
    (void *)fault,
};

uint32_t board_ask(uint32_t operation, const void *arguments)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void board_count_from_now(void)
{
    SYSTICK[1] = BOARD_MASK;
    SYSTICK[2] = 0;
    SYSTICK[0] = 5; /* the processor's clock, no interrupt */
}

uint32_t board_count(void)
{
    return BOARD_MASK - SYSTICK[2];
}
