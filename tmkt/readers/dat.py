"""Prophesee DAT: a text header, two bytes (type and size of an event), then 8 bytes an event.

Little-endian: a stamp of 32 bits, then x (bits 13..0), y (27..14) and polarity (28). Files of
version 1 split these bits otherwise and are refused.
"""

from collections.abc import Iterator
from typing import IO

import numpy as np

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.readers import clock
from tmkt.readers.files import Input, Opened, Writer, record_blocks
from tmkt.readers.prophesee import read_header, sensor_of
from tmkt.readers.source import Raw

TYPES = (0x00, 0x0C)  # events of change detection, old and new
RECORD = 8  # bytes


def open_dat(source: Input) -> Opened:
    """Open a file of version 2. Raises InputError for version 1 and for other event types."""
    header = read_header(source.file, source.name)
    if header.get("version", "2") != "2":
        raise InputError(
            f"{source.name}: DAT version {header['version']}, expected 2; convert the file with"
            " Metavision"
        )
    kind = source.file.read(2)
    if len(kind) < 2 or kind[0] not in TYPES or kind[1] != RECORD:
        raise InputError(
            f"{source.name}: events of type and size {tuple(kind)}, expected (0, 8) or (12, 8); no"
            " events of change detection in it"
        )
    return Opened(_read_chunks(source), sensor_of(header))


def _read_chunks(source: Input) -> Iterator[Raw]:
    state = np.zeros(clock.STATE, np.int64)
    for block in record_blocks(source.file, RECORD, source.options.chunk, source.counters):
        words = block.view("<u4").reshape(-1, 2)
        t = np.empty(len(words), np.int64)
        clock.unwrap32(words[:, 0].copy(), state, t)
        source.counters.wraps = int(state[clock.WRAPS])
        data = words[:, 1]
        yield Raw(
            t,
            (data & 0x3FFF).astype(np.uint16),
            (data >> 14 & 0x3FFF).astype(np.uint16),
            (data >> 28 & 1).astype(np.uint8),
        )


class DatWriter(Writer):
    """Writer of version 2, with stamps below 2^32 us."""

    def __init__(self, file: IO[bytes], name: str, sensor: tuple[int, int]) -> None:
        height, width = sensor
        super().__init__(file, name, sensor)
        header = f"% Version 2\n% Height {height}\n% Width {width}\n"
        file.write(b"% Data file containing CD events.\n" + header.encode())
        file.write(bytes((TYPES[1], RECORD)))

    def write(self, events: Events) -> None:
        """Append a chunk. Raises InputError for stamps that the format cannot hold."""
        if len(events) and events.t[-1] >= 2**32:
            raise InputError(
                f"{self._name}: stamps of {events.t[-1]} us do not fit DAT (below 2^32); use"
                " --from-zero"
            )
        words = np.empty((len(events), 2), "<u4")
        words[:, 0] = events.t
        words[:, 1] = (
            events.x.astype(np.uint32)
            | events.y.astype(np.uint32) << 14
            | events.p.astype(np.uint32) << 28
        )
        self._file.write(words.tobytes())
