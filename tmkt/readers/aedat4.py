"""AEDAT4 (iniVation's DV): packets of FlatBuffers, compressed with LZ4 or Zstandard.

`#!AER-DAT4.0\\r\\n`, a size and a FlatBuffer `IOHE` (compression; where the data table begins; XML
that names the streams), then packets: stream id and size (int32 each) and a payload, a FlatBuffer
`EVTS` for events. Little-endian throughout. Only the fields that are needed are read, each with its
bounds checked; other streams (frames, IMU, triggers) are skipped. Stamps are Unix time in
microseconds.
"""

import struct
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.readers.files import Input, Opened, damaged
from tmkt.readers.source import Raw

MAGIC = b"#!AER-DAT4.0\r\n"
LARGEST_HEADER = 2**24
LARGEST_PACKET = 2**28  # bytes, compressed or not: cameras write packets of about 10 ms
PIECE = (
    2**18
    # bytes that are decompressed at a time: buffers of the largest size would cost ten times the work
)
EVENT = np.dtype(
    {
        "names": ["t", "x", "y", "p"],
        "formats": ["<i8", "<i2", "<i2", "u1"],
        "offsets": [0, 8, 10, 12],
        "itemsize": 16,
    }
)


class _Damage(Exception):
    """What is wrong with a packet."""


def open_aedat4(source: Input) -> Opened:
    """The `stream`-th of the file's event streams. Raises InputError for a damaged header and for a
    stream that is not there.
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
        streams = _event_streams(bytes(header[text[0] : text[0] + text[1]]))
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
    identity, sensor = streams[source.options.stream]
    notes = (
        [f"{len(streams)} event streams: stream {source.options.stream} taken (--stream)"]
        if len(streams) > 1
        else []
    )
    return Opened(_raw(source, identity, compression, table), sensor, notes)


def _event_streams(xml: bytes) -> list[tuple[int, tuple[int, int] | None]]:
    """Identity and (height, width) of each stream of events in the header's XML."""
    found = []
    for info in ElementTree.fromstring(xml.rstrip(b"\0")).iter("node"):
        if info.get("name") != "outInfo":
            continue
        for stream in info.findall("node"):
            said = {attr.get("key"): attr.text or "" for attr in stream.iter("attr")}
            if said.get("typeIdentifier") == "EVTS":
                sizes = said.get("sizeY", ""), said.get("sizeX", "")
                sensor = (
                    (int(sizes[0]), int(sizes[1]))
                    if all(s.isdecimal() and len(s) < 9 for s in sizes)
                    else None
                )
                found.append((int(stream.get("name") or "-1"), sensor))
    return sorted(found, key=lambda stream: stream[0])


def _raw(source: Input, identity: int, compression: int, table: int) -> Iterator[Raw]:
    """Packets up to the data table; where the header knows of none (-1), up to the file's end."""
    file = source.file
    here = file.tell()
    end = file.seek(0, 2)
    file.seek(here)
    if table > end or 0 <= table < here:
        damaged(source, f"cut off: its data table should begin at byte {table} of {end}")
        table = -1
    stop = table if table >= 0 else end
    while here < stop:
        packet = file.read(8)
        stream, size = struct.unpack("<ii", packet) if len(packet) == 8 else (0, -1)
        if size < 0 or size > LARGEST_PACKET or here + 8 + size > stop:
            damaged(source, f"damaged at byte {here}: no whole packet there", stop - here)
            return
        here += 8 + size
        if stream == identity:
            try:
                events = _events(_decompressed(file.read(size), compression))
            except _Damage as error:
                damaged(source, f"damaged packet before byte {here} ({error})")
                source.counters.bad_records += 1
                continue
            # A negative coordinate becomes a huge one: the check drops it.
            yield (
                events["t"].astype(np.int64),
                events["x"].astype(np.uint16),
                events["y"].astype(np.uint16),
                events["p"].copy(),
            )
        else:
            file.seek(here)


def _decompressed(data: bytes, compression: int) -> bytes:
    """At most LARGEST_PACKET bytes: a packet of 1 MB can claim to hold 300."""
    if compression == 0:
        return data
    if compression not in (1, 2, 3, 4):
        raise _Damage(f"unknown compression {compression}")
    out = bytearray()
    for piece in _lz4(data) if compression in (1, 2) else _zstandard(data):
        out += piece
        if len(out) > LARGEST_PACKET:
            raise _Damage(f"more than {LARGEST_PACKET} bytes")
    return bytes(out)


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


def _events(data: bytes) -> NDArray[Any]:
    start, count = _vector(data, 0, sized=True, item=EVENT.itemsize)
    return np.frombuffer(data, EVENT, count, start)


# What FlatBuffers put where: a root table, whose first field points back to a table of the fields'
# offsets.


def _read(data: bytes, format: str, at: int) -> int:
    try:
        if at < 0:
            raise _Damage("a pointer before the start")
        return int(struct.unpack_from(format, data, at)[0])
    except struct.error:
        raise _Damage("a pointer beyond the end") from None


def _field(data: bytes, index: int, start: int) -> int | None:
    """Where a field of the root table is; None: it has its default."""
    table = start + _read(data, "<I", start)
    fields = table - _read(data, "<i", table)
    if 4 + 2 * index >= _read(data, "<H", fields):
        return None
    offset = _read(data, "<H", fields + 4 + 2 * index)
    return table + offset if offset else None


def _scalar(data: bytes, index: int, format: str, default: int) -> int:
    at = _field(data, index, 0)
    return default if at is None else _read(data, format, at)


def _vector(data: bytes, index: int, sized: bool = False, item: int = 1) -> tuple[int, int]:
    """Start and length of a vector; `sized`: four bytes of size stand before the root."""
    at = _field(data, index, 4 if sized else 0)
    if at is None:
        return 0, 0
    start = at + _read(data, "<I", at)
    count = _read(data, "<I", start)
    if start + 4 + count * item > len(data):
        raise _Damage(f"{count} items do not fit {len(data)} bytes")
    return start + 4, count
