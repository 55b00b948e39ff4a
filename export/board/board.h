/* What start.c offers a program on a bare Cortex-M. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

/* Bytes of the stack that were ever written to. */
uint32_t stack_used(void);

/* Asks a debugger or an emulator for a service (Arm's semihosting, version 2). */
uint32_t semihosting(uint32_t operation, const void *arguments);

/* Ends an emulator with an exit code; hangs where there is none. */
void finish(int code) __attribute__((noreturn));

#endif
