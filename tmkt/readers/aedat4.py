"""AEDAT4 (iniVation's DV): packets of FlatBuffers, compressed with LZ4 or Zstandard.

`#!AER-DAT4.0\\r\\n`, a size and a FlatBuffer `IOHE` (compression; where the data table begins; XML
that names the streams), then packets: stream id and size (int32 each) and a payload, a FlatBuffer
`EVTS` for events. Little-endian throughout. Only the fields that are needed are read, each with its
bounds checked; other streams (frames, IMU, triggers) are skipped. Stamps are Unix time in
microseconds.
"""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.readers.files import Input, Opened, report_damage
from tmkt.readers.source import Raw

MAGIC = b"#!AER-DAT4.0\r\n"
LARGEST_HEADER = 2**22  # bytes of XML, which takes 30 times as much when it is parsed
LARGEST_PACKET = 2**27  # bytes, compressed or not: cameras write packets of about 10 ms
# Bytes that are decompressed at a time: buffers of the largest size would cost ten times the work.
PIECE = 2**18
EVENT = np.dtype(
    {
        "names": ["t", "x", "y", "p"],
        "formats": ["<i8", "<i2", "<i2", "u1"],
        "offsets": [0, 8, 10, 12],
        "itemsize": 16,
    }
)


UNCOMPRESSED, LZ4, ZSTANDARD = (0,), (1, 2), (3, 4)


class _Damage(Exception):
    """A fault of a header or packet, in a few words."""


class _Stream(NamedTuple):
    """A stream of events as the header names it; `sensor` is (height, width)."""

    identity: int
    sensor: tuple[int, int] | None


class _Vector(NamedTuple):
    """Place and number of a FlatBuffer vector's items."""

    start: int
    items: int


def open_aedat4(source: Input) -> Opened:
    """Open the event stream that the option `stream` counts to.

    Raises InputError for a damaged header and for a stream that is not there.
    """
    file, name = source.file, source.name
    head = file.read(len(MAGIC) + 4)
    size = int.from_bytes(head[len(MAGIC) :], "little")
    if not head.startswith(MAGIC) or len(head) < len(MAGIC) + 4 or size > LARGEST_HEADER:
        raise InputError(
            f"{name}: no AEDAT 4.0 header (begins with {head[:18]!r}); fetch the file again"
        )
    header = file.read(size)
    try:
        compression = _scalar(header, 0, "<i", 0)
        table = _scalar(header, 1, "<q", -1)
        text = _vector(header, 2)
        streams = _event_streams(header[text.start : text.start + text.items])
    except (_Damage, ElementTree.ParseError, ValueError) as error:
        raise InputError(
            f"{name}: the AEDAT4 header cannot be read ({error}); fetch the file again"
        ) from None
    if not streams:
        raise InputError(f"{name}: holds no stream of events; choose another file")
    if not 0 <= source.options.stream < len(streams):
        raise InputError(
            f"{name}: holds {len(streams)} streams of events, but --stream says"
            f" {source.options.stream}; the first is 0"
        )
    chosen = streams[source.options.stream]
    notes = (
        [f"{len(streams)} event streams: stream {source.options.stream} taken (--stream)"]
        if len(streams) > 1
        else []
    )
    return Opened(_read_packets(source, chosen.identity, compression, table), chosen.sensor, notes)


def _event_streams(xml: bytes) -> list[_Stream]:
    """Find the streams of events in the header's XML, by identity."""
    found = []
    for info in ElementTree.fromstring(xml.rstrip(b"\0")).iter("node"):
        if info.get("name") != "outInfo":
            continue
        for stream in info.findall("node"):
            said = {attr.get("key"): attr.text or "" for attr in stream.iter("attr")}
            if said.get("typeIdentifier") == "EVTS":
                height, width = said.get("sizeY", ""), said.get("sizeX", "")
                known = all(size.isdecimal() and len(size) < 9 for size in (height, width))
                sensor = (int(height), int(width)) if known else None
                found.append(_Stream(int(stream.get("name") or "-1"), sensor))
    return sorted(found, key=lambda stream: stream.identity)


def _read_packets(source: Input, identity: int, compression: int, table: int) -> Iterator[Raw]:
    """Decode packets up to the data table, or up to the file's end if there is none (-1)."""
    file = source.file
    here = file.tell()
    end = file.seek(0, 2)
    file.seek(here)
    if table > end or 0 <= table < here:
        report_damage(source, f"cut off: its data table should begin at byte {table} of {end}")
        table = -1
    stop = table if table >= 0 else end
    while here < stop:
        packet = file.read(8)
        stream, size = struct.unpack("<ii", packet) if len(packet) == 8 else (0, -1)
        if size < 0 or size > LARGEST_PACKET or here + 8 + size > stop:
            report_damage(source, f"damaged at byte {here}: no whole packet there", stop - here)
            return
        here += 8 + size
        if stream == identity:
            try:
                events = _events(_decompress(file.read(size), compression))
            except _Damage as error:
                report_damage(source, f"damaged packet before byte {here} ({error})")
                source.counters.bad_records += 1
                continue
            for start in range(0, len(events), source.options.chunk):
                part = events[start : start + source.options.chunk]
                # A negative coordinate becomes a huge one: the check drops it.
                yield Raw(
                    part["t"].astype(np.int64),
                    part["x"].astype(np.uint16),
                    part["y"].astype(np.uint16),
                    part["p"].copy(),
                )
        else:
            file.seek(here)


def _decompress(data: bytes, compression: int) -> bytes | bytearray:
    """Give at most LARGEST_PACKET bytes: a packet of 1 MB can claim to hold 300."""
    if compression in UNCOMPRESSED:
        return data
    if compression not in LZ4 + ZSTANDARD:
        raise _Damage(f"unknown compression {compression}")
    out = bytearray()
    for piece in _lz4(data) if compression in LZ4 else _zstandard(data):
        out += piece
        if len(out) > LARGEST_PACKET:
            raise _Damage(f"more than {LARGEST_PACKET} bytes")
    return out


def _lz4(data: bytes) -> Iterator[bytes]:
    import lz4.frame

    decoder = lz4.frame.LZ4FrameDecompressor()
    try:
        while not decoder.eof:
            yield decoder.decompress(data, max_length=PIECE)
            data = b""
            if decoder.needs_input and not decoder.eof:
                raise _Damage("LZ4: it ends early")
    except (RuntimeError, EOFError) as error:
        raise _Damage(f"LZ4: {error}") from None


def _zstandard(data: bytes) -> Iterator[bytes]:
    import zstandard

    try:
        with zstandard.ZstdDecompressor(max_window_size=LARGEST_PACKET).stream_reader(
            data
        ) as reader:
            while piece := reader.read(PIECE):
                yield piece
    except (zstandard.ZstdError, MemoryError) as error:
        raise _Damage(f"Zstandard: {error}") from None


def _events(data: bytes | bytearray) -> NDArray[Any]:
    events = _vector(data, 0, sized=True, item=EVENT.itemsize)
    return np.frombuffer(data, EVENT, events.items, events.start)


# The form of FlatBuffers: a root table, whose first field points back to a table of the fields'
# offsets.


def _read(data: bytes | bytearray, format: str, at: int) -> int:
    try:
        if at < 0:
            raise _Damage("a pointer before the start")
        return int(struct.unpack_from(format, data, at)[0])
    except struct.error:
        raise _Damage("a pointer beyond the end") from None


def _field(data: bytes | bytearray, index: int, start: int) -> int | None:
    """Give the place of a field of the root table; None if it has its default."""
    table = start + _read(data, "<I", start)
    fields = table - _read(data, "<i", table)
    if 4 + 2 * index >= _read(data, "<H", fields):
        return None
    offset = _read(data, "<H", fields + 4 + 2 * index)
    return table + offset if offset else None


def _scalar(data: bytes | bytearray, index: int, format: str, default: int) -> int:
    at = _field(data, index, 0)
    return default if at is None else _read(data, format, at)


def _vector(data: bytes | bytearray, index: int, sized: bool = False, item: int = 1) -> _Vector:
    """Find a vector of items of `item` bytes; `sized`: four bytes of size stand before the root."""
    at = _field(data, index, 4 if sized else 0)
    if at is None:
        return _Vector(0, 0)
    start = at + _read(data, "<I", at)
    count = _read(data, "<I", start)
    if start + 4 + count * item > len(data):
        raise _Damage(f"{count} items do not fit {len(data)} bytes")
    return _Vector(start + 4, count)
