/* Entry, semihosting and the counter of a 32-bit RISC-V. */
#include "board.h"

/* All of a hart's life: a stack, then board_begin. */
__asm__(".section .vectors,\"ax\"\n.globl board_entry\nboard_entry:\n"
        ".option push\n.option norelax\n    la gp, __global_pointer$\n.option pop\n"
        "    la sp, stack_top\n    j board_begin\n.text\n");

/* The three instructions that an emulator knows must lie in one page. */
uint32_t board_ask(uint32_t operation, const void *arguments)
{
    register uint32_t a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = arguments;
    __asm__ volatile(".option push\n.option norvc\n.balign 16\n"
                     "slli zero, zero, 0x1f\nebreak\nsrai zero, zero, 7\n.option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return a0;
}

void board_count_from_now(void)
{
}

uint32_t board_count(void)
{
    uint32_t count;
    __asm__ volatile("csrr %0, minstret" : "=r"(count));
    return count;
}
