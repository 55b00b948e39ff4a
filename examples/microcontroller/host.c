/* Bytes from standard input, lines to standard output. */
#include "io.h"

#include <stdio.h>

int32_t board_get(void)
{
    return getchar();
}

void board_put(char byte)
{
    putchar(byte);
}

void board_report(void)
{
}
