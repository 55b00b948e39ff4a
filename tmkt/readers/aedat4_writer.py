"""Writer of AEDAT4, as iniVation's DV writes it; `aedat4.py` has the form.

One stream of events with its sensor, packets in LZ4 frames, and a table of the packets at the end
(`FTAB`, by dv-processing's `fileDataTable.fbs`), by which DV seeks.
"""

import struct
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tmkt.events.types import Events
from tmkt.readers.aedat4 import EVENT, LZ4, MAGIC
from tmkt.readers.files import Writer

PACKET = 8192  # events
STREAM = 0
# Parts of FlatBuffers (places count from the start of the size before them).
# A root with one field, a vector that follows: the root's place, the kind, then the fields and the
# root itself.
VECTOR_ROOT = struct.Struct("<I4s2xHHHiI")
# The header's root: XML, which follows, the place of the table of packets, the compression.
HEADER_ROOT = struct.Struct("<I4s6xHHHHHiIqi")
TABLE_PLACE = 32  # of the place of the table, from the header's start
# An entry of the table: bytes before the packet, its stream and size, its events, and their first
# and last stamp. All entries share one list of fields.
FIELDS = struct.pack("<HHHHHHH2x", 14, 44, 4, 12, 20, 28, 36)
ENTRY = struct.Struct("<iqiiqqq4x")


class Aedat4Writer(Writer):
    """Writer of stamps of 64 bits, of any sensor."""

    def __init__(self, file: IO[bytes], name: str, sensor: tuple[int, int]) -> None:
        super().__init__(file, name, sensor)
        self._packets: list[tuple[int, ...]] = []
        header = _header(_xml(sensor))
        file.write(MAGIC + struct.pack("<I", len(header)) + header)

    def write(self, events: Events) -> None:
        """Append a chunk, in packets."""
        for begin in range(0, len(events), PACKET):
            part = slice(begin, begin + PACKET)
            packet = np.zeros(len(events.t[part]), EVENT)
            packet["t"], packet["p"] = events.t[part], events.p[part]
            packet["x"], packet["y"] = events.x[part], events.y[part]
            self._append(packet)

    def finish(self) -> None:
        """Write the table of packets, and its place into the header."""
        place = self._file.tell()
        self._file.write(_compressed(_table(self._packets)))
        self._file.seek(len(MAGIC) + 4 + TABLE_PLACE)
        self._file.write(struct.pack("<q", place))

    def _append(self, packet: NDArray[Any]) -> None:
        data = _compressed(_vector(b"EVTS", len(packet), packet.tobytes()))
        self._file.write(struct.pack("<ii", STREAM, len(data)))
        stamps = int(packet["t"][0]), int(packet["t"][-1])
        self._packets.append((self._file.tell(), STREAM, len(data), len(packet), *stamps))
        self._file.write(data)


def _sized(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def _vector(kind: bytes, items: int, data: bytes) -> bytes:
    root = VECTOR_ROOT.pack(16, kind, 6, 8, 4, 6, 4)
    return _sized(root + struct.pack("<I", items) + data)


def _compressed(data: bytes) -> bytes:
    import lz4.frame

    return lz4.frame.compress(data)  # type: ignore[no-any-return]


def _header(xml: bytes) -> bytes:
    """Give the header without the place of the table, which is not known yet (-1)."""
    return HEADER_ROOT.pack(24, b"IOHE", 10, 20, 16, 8, 4, 10, 16, -1, LZ4[0]) + _sized(xml) + b"\0"


def _table(packets: list[tuple[int, ...]]) -> bytes:
    """Give the table: a vector of places of entries, the fields, then the entries."""
    count = len(packets)
    end = 32 + 4 * count  # of the vector
    fields = end + (4 - end) % 8  # so that the entries' 64-bit numbers lie at multiples of eight
    first = fields + len(FIELDS)
    places = [first + ENTRY.size * k - (32 + 4 * k) for k in range(count)]
    entries = b"".join(
        ENTRY.pack(first + ENTRY.size * k - fields, *packet) for k, packet in enumerate(packets)
    )
    data = struct.pack(f"<{count}I", *places) + bytes(fields - end) + FIELDS + entries
    return _vector(b"FTAB", count, data)


def _xml(sensor: tuple[int, int]) -> bytes:
    height, width = sensor
    path = "/mainloop/Recorder/outInfo/"
    return (
        f'<dv version="2.0"><node name="outInfo" path="{path}">'
        f'<node name="{STREAM}" path="{path}{STREAM}/">'
        '<attr key="compression" type="string">LZ4</attr>'
        '<attr key="originalModuleName" type="string">tmkt</attr>'
        '<attr key="originalOutputName" type="string">events</attr>'
        '<attr key="typeDescription" type="string">Array of events (polarity ON/OFF).</attr>'
        '<attr key="typeIdentifier" type="string">EVTS</attr>'
        f'<node name="info" path="{path}{STREAM}/info/">'
        f'<attr key="sizeX" type="int">{width}</attr>'
        f'<attr key="sizeY" type="int">{height}</attr>'
        '<attr key="source" type="string">tmkt</attr>'
        "</node></node></node></dv>"
    ).encode()
