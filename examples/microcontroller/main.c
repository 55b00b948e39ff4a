/* Decides what a camera sees, on a bare microcontroller or on a computer.
   Events come in through `board_get`, a byte at a time, as N-MNIST's files and ATIS cameras have
   them: x, y, and polarity and 23 bits of microseconds. A record with y = 240 says that the clock
   ran over; one of five 255 ends a recording. Lines go out through `board_put`. */
#include "io.h"
#include "network.h"

static tmkt_stream stream;

static void put_text(const char *text)
{
    while (*text)
        board_put(*text++);
}

static void put_number(int32_t number)
{
    char digits[12];
    int32_t count = 0;
    if (number < 0)
        board_put('-');
    do {
        const int32_t digit = number % 10;
        digits[count++] = (char)('0' + (digit < 0 ? -digit : digit));
        number /= 10;
    } while (number != 0);
    while (count > 0)
        board_put(digits[--count]);
}

static void put_answer(void)
{
    const tmkt_answer *const answer = &stream.answer;
    put_text(answer->decided ? tmkt_names[answer->class_index] : "-");
    put_text(" margin ");
    put_number(answer->margin);
    put_text(" events ");
    put_number(answer->events);
    put_text(" values");
    for (int32_t k = 0; k < TMKT_CLASSES; k++) {
        board_put(' ');
        put_number(tmkt_readout(&stream.network, k));
    }
    board_put('\n');
}

/* What is missing of the last window is empty. */
static void end_recording(void)
{
    const uint32_t end = stream.bin_us + TMKT_BIN_US * (TMKT_WINDOW + 1);
    while (tmkt_tick(&stream, end))
        put_answer();
    tmkt_start(&stream);
}

int main(void)
{
    uint8_t record[5];
    uint32_t offset = 0, before = 0; /* microseconds that the clock ran over, its last stamp */
    tmkt_start(&stream);
    for (int32_t count = 0, byte; (byte = board_get()) >= 0;) {
        record[count++] = (uint8_t)byte;
        if (count < 5)
            continue;
        count = 0;
        const uint32_t stamp =
            (uint32_t)(record[2] & 127) << 16 | (uint32_t)record[3] << 8 | record[4];
        if (record[1] == 255) {
            end_recording();
            offset = before = 0;
        } else if (record[1] == 240) {
            offset += 8192;
        } else {
            if (stamp < before && before - stamp > 1u << 22)
                offset += 1u << 23;
            before = stamp;
            while (tmkt_event(&stream, stamp + offset, record[0], record[1], record[2] >> 7))
                put_answer();
        }
    }
    end_recording();
    board_report();
    return 0;
}
