/* What a program on a bare board may use. */
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

/* Instructions so far, in units of BOARD_UNIT/100 of one; wraps at BOARD_MASK. */
#ifdef __riscv
#define BOARD_MASK 0xFFFFFFFFu
#else
#define BOARD_MASK 0xFFFFFFu /* SysTick has 24 bits */
#endif
void board_count_from_now(void);
uint32_t board_count(void);

/* Bytes of the stack that were ever written to. */
uint32_t board_stack_used(void);

/* Asks a debugger or an emulator for a service (Arm's semihosting, which RISC-V shares). */
uint32_t board_ask(uint32_t operation, const void *arguments);

/* Ends an emulator with an exit code; hangs where there is none. */
void board_end(int code) __attribute__((noreturn));

#endif
