"""AEDAT 3.1 (iniVation's cAER), the format of the official DVS128 Gesture archive.

Lines of text, then packets. A packet's header is 28 bytes, little-endian: type and source (int16),
event size, offset of the stamp within an event, number of stamp overflows, capacity, number of
events, number of valid ones (int32). Polarity events (type 1) are 8 bytes: a word with bit 0 =
valid, bit 1 = on, y in bits 2..16, x in bits 17..31, and a stamp in microseconds (31 bits). The
origin is at the top left. Packets of other types (frames, IMU, special events) are skipped.
Source: iniVation's specification of AEDAT 3.1.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.files import open_plain
from tmkt.readers.aedat2 import sensor_of_chip
from tmkt.readers.files import Input, Opened, Options, report_damage
from tmkt.readers.source import Counters, Raw
from tmkt.readers.strict import check_events, collect

FIRST_LINE = b"#!AER-DAT3.1"
END_OF_TEXT = b"#!END-HEADER\r\n"
LONGEST_HEADER = 2**16
POLARITY, EVENT = 1, 8  # the packet's type, and an event's bytes
HEADER = struct.Struct("<hhiiiiii")


class _Header(NamedTuple):
    """The fields of a packet's header, in their order in the file."""

    type: int
    source: int
    event_size: int
    stamp_offset: int
    overflows: int
    capacity: int
    events: int
    valid: int


def open_aedat3(source: Input) -> Opened:
    """Open a recording whose packets follow the text header.

    The sensor is known where the header names a DVS128, DAVIS240 or DAVIS346. Raises InputError
    for other versions and for a header without an end.
    """
    text = _read_text(source)
    chips = [line.partition(b":")[2] for line in text.splitlines() if line.startswith(b"#Source")]
    notes = [f"{len(chips)} sources: the events of all are taken"] if len(chips) > 1 else []
    sensor = sensor_of_chip(chips[0].decode("ascii", "replace")) if chips else None
    return Opened(_read_packets(source), sensor, notes)


def read_aedat3(path: Path, sensor: tuple[int, int]) -> Events:
    """Read all polarity events of a file, sorted by time. `sensor` is (height, width).

    Raises InputError for a file that is damaged or cut off, and for events that `check_events`
    refuses.
    """
    try:
        with open_plain(path) as file:
            opened = open_aedat3(Input(file, str(path), Options(), Counters()))
            events = collect((Events(*raw, sensor) for raw in opened.raw), sensor, path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}), expected a recording; check the"
            " path"
        ) from None
    if (events.t[1:] < events.t[:-1]).any():  # packets of one source are in order
        order = np.argsort(events.t, kind="stable")
        events = Events(events.t[order], events.x[order], events.y[order], events.p[order], sensor)
    check_events(events, path)
    return events


def _read_text(source: Input) -> bytes:
    """Read the header's lines; leave the file at the first packet."""
    head = source.file.read(LONGEST_HEADER)
    if not head.startswith(FIRST_LINE):
        raise InputError(
            f"{source.name}: begins with {head[:14]!r}, expected {FIRST_LINE.decode()}; convert"
            " the file with iniVation's DV"
        )
    end = head.find(END_OF_TEXT)
    if end < 0:
        raise InputError(
            f"{source.name}: its header has no end (#!END-HEADER); fetch the file again"
        )
    source.file.seek(end + len(END_OF_TEXT))
    return head[:end]


def _read_packets(source: Input) -> Iterator[Raw]:
    """Decode the polarity packets up to the file's end, in pieces of bounded memory."""
    file = source.file
    here = file.tell()
    end = file.seek(0, 2)
    while here < end:
        file.seek(here)
        fields = file.read(HEADER.size)
        if len(fields) < HEADER.size:
            report_damage(source, _cut_off(here, end), end - here)
            return
        header = _Header._make(HEADER.unpack(fields))
        if (
            header.event_size <= 0
            or header.events < 0
            or header.capacity < header.events
            or header.overflows < 0
        ):
            found = f"{header.events} events of {header.event_size} bytes"
            report_damage(source, f"a damaged packet at byte {here} ({found})", end - here)
            return
        after = here + HEADER.size + header.event_size * header.capacity
        if after > end:
            report_damage(source, _cut_off(here, end), end - here)
            return
        if header.type == POLARITY:
            if header.event_size != EVENT:
                report_damage(
                    source,
                    f"polarity events of {header.event_size} bytes at byte {here}, expected"
                    f" {EVENT}",
                )
                source.counters.bad_records += header.events
            else:
                yield from _read_events(file, header, source.options.chunk)
        here = after


def _read_events(file: IO[bytes], header: _Header, chunk: int) -> Iterator[Raw]:
    for start in range(0, header.events, chunk):
        data = file.read(EVENT * min(chunk, header.events - start))
        words = np.frombuffer(data, "<u4", len(data) // EVENT * 2).reshape(-1, 2)
        words = words[(words[:, 0] & 1) == 1]
        address = words[:, 0]
        yield Raw(
            words[:, 1].astype(np.int64) + (header.overflows << 31),
            (address >> 17 & 0x7FFF).astype(np.uint16),
            (address >> 2 & 0x7FFF).astype(np.uint16),
            (address >> 1 & 1).astype(np.uint8),
        )


def _cut_off(here: int, end: int) -> str:
    return f"cut off, the packet at byte {here} reaches beyond the file's {end} bytes"
