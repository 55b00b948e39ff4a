/* What main.c needs of the machine that it runs on. */
#ifndef IO_H
#define IO_H

#include <stdint.h>

int32_t board_get(void); /* the next byte; -1 when there is none any more */
void board_put(char byte);
void board_report(void); /* how much stack it took, where that is known */

#endif
