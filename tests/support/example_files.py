"""Recordings as bytes for the readers' tests, written plainly and apart from our own writers."""

import struct
from itertools import groupby
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np
import zstandard
from numpy.typing import NDArray
from scipy.io import savemat

from tmkt.events.types import Events
from tmkt.readers import FileSource, open_events
from tmkt.readers.writers import WRITERS, write_events

SENSOR = (100, 120)  # (height, width): fits all formats but AEDAT 2
Rows = list[tuple[int, int, int, int]]  # t, x, y, p
LZ4, ZSTD = (1, 2), (3, 4)
AEDAT3_HEADER = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"


def random_events(
    n: int, sensor: tuple[int, int] = SENSOR, seed: int = 0, step_us: int = 300
) -> Events:
    """Draw sorted events; some share a stamp, or follow each other in x."""
    rng = np.random.default_rng(seed)
    t = 5 + np.cumsum(rng.integers(0, step_us, n) * rng.integers(0, 2, n))
    x, y, p = (rng.integers(0, high, n) for high in (sensor[1], sensor[0], 2))
    return Events(
        t.astype(np.int64), x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8), sensor
    )


def rows(chunks: Any) -> Rows:
    """List the events of chunks."""
    return [
        row
        for e in chunks
        for row in zip(e.t.tolist(), e.x.tolist(), e.y.tolist(), e.p.tolist(), strict=True)
    ]


def read_bytes(
    path: Path, data: bytes, sensor: tuple[int, int] | None = None, format: str | None = None
) -> tuple[Rows, FileSource]:
    """Write a file and read it with repairs."""
    path.write_bytes(data)
    source = open_events(path, sensor=sensor, repair=True, format=format)
    return rows(source), source


def opened(path: Path, layout: str | None = None) -> FileSource:
    """Open a source to look at its header, and close it."""
    source = open_events(path, layout=layout)
    source.close()
    return source


def write_example(format: str, path: Path, events: Events) -> Path:
    """Write events in any format that is read: by our writer, or plainly if we have none."""
    if format == "aedat4":  # with streams beside the events
        path.write_bytes(aedat4({0: [events]}))
    elif format in WRITERS:
        write_events([events], path, format, events.sensor)
    elif format == "aedat1":
        path.write_bytes(aedat1(events))
    elif format == "aedat3":
        path.write_bytes(aedat3(events))
    elif format == "evt21":
        path.write_bytes(evt21(events))
    elif format == "mat":
        with path.open("wb") as file:
            savemat(file, mat_columns(events), do_compression=True)
    elif format == "npy":
        with path.open("wb") as file:
            np.save(file, structured(events), allow_pickle=False)
    elif format == "ecf":
        write_ecf(path, events, chunk=1000)
    return path


def mat_columns(events: Events) -> dict[str, NDArray[Any]]:
    """Give columns as CEP-DVS has them: float64 [n, 1], p 1 and -1."""
    columns = {"x": events.x, "y": events.y, "ts": events.t, "p": np.where(events.p, 1, -1)}
    return {key: values.astype(np.float64)[:, None] for key, values in columns.items()}


def structured(events: Events) -> NDArray[Any]:
    table = np.empty(len(events), [("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])
    table["t"], table["x"], table["y"], table["p"] = events.t, events.x, events.y, events.p
    return table


def aedat1(events: Events) -> bytes:
    """Encode a DVS128's records of 6 bytes: x from the right, y from below, on = 0."""
    head = b"#!AER-DAT1.0\r\n# a comment\r\n"
    return head + b"".join(
        struct.pack(">HI", (127 - y) << 8 | (127 - x) << 1 | (1 - p), t)
        for t, x, y, p in rows([events])
    )


def evt21(events: Events, legacy: bool = False, said: bool = True) -> bytes:
    """Encode words of 32 pixels; `legacy`: the half with the kind first; `said`: in the header."""
    height, width = events.sensor
    order = f"endianness={'legacy' if legacy else 'little'};" if said else ""
    data = f"% evt 2.1\n% format EVT21;{order}height={height};width={width}\n% end\n".encode()
    high, words = -1, []
    last = (-1, -1, -1, -1)
    for t, x, y, p in rows([events]):
        if t >> 6 != high:
            high = t >> 6
            words.append([8 << 28 | high, 0])
        now = (t, x >> 5, y, p)
        if now != last or words[-1][1] >> (x & 31):  # masks go from left to right
            words.append([p << 28 | (t & 63) << 22 | (x & ~31) << 11 | y, 0])
        words[-1][1] |= 1 << (x & 31)
        last = now
    return data + b"".join(struct.pack("<II", *(word if legacy else word[::-1])) for word in words)


def aedat3(events: Events) -> bytes:
    """Encode packets of at most 100 polarity events, as a DVS128 Gesture archive has them."""
    return AEDAT3_HEADER + b"".join(
        aedat3_packet(_part(events, slice(start, start + 100)))
        for start in range(0, len(events), 100)
    )


def aedat3_packet(events: Events, overflow: int = 0) -> bytes:
    """Encode a packet of polarity events, with one invalid event at its end."""
    words = [(x << 17 | y << 2 | p << 1 | 1, t) for t, x, y, p in rows([events])]
    words.append((0, words[-1][1]))
    n = len(words)
    return struct.pack("<hhiiiiii", 1, 1, 8, 4, overflow, n, n, n - 1) + b"".join(
        struct.pack("<II", *word) for word in words
    )


def _part(events: Events, part: slice) -> Events:
    return Events(events.t[part], events.x[part], events.y[part], events.p[part], events.sensor)


def aedat4(
    streams: dict[int, list[Events]], compression: int = 1, table: bool = True, sizes: bool = True
) -> bytes:
    """Encode a packet for each of a stream's parts, in turn, with packets of an IMU between.

    `table`: with a data table at the end.
    """
    nodes = ""
    for identity, parts in streams.items():
        height, width = parts[0].sensor if parts else SENSOR
        size = (
            f'<node name="info"><attr key="sizeX">{width}</attr><attr'
            f' key="sizeY">{height}</attr></node>'
            if sizes
            else ""
        )
        nodes += f'<node name="{identity}"><attr key="typeIdentifier">EVTS</attr>{size}</node>'
    nodes += '<node name="9"><attr key="typeIdentifier">IMUS</attr></node>'
    xml = f'<dv version="2.0"><node name="outInfo">{nodes}</node></dv>'.encode()
    data = b""
    for turn in range(max(map(len, streams.values()))):
        for identity, parts in streams.items():
            if turn < len(parts):
                data += _packet(
                    identity, _compressed(_buffer(b"EVTS", rows([parts[turn]])), compression)
                )
        data += _packet(9, _compressed(_buffer(b"IMUS", []), compression))
    # IOHE: a field table at byte 8, and at 20 the root with its three fields: compression, where
    # the data table begins, XML.
    begin = 18 + 44 + len(xml)
    head = struct.pack("<I4sHHHHH2x", 20, b"IOHE", 10, 24, 4, 8, 16)
    head += (
        struct.pack("<iiqI", 12, compression, begin + len(data) if table else -1, 4)
        + struct.pack("<I", len(xml))
        + xml
    )
    head += b"\0" * (begin - 18 - len(head))
    return (
        b"#!AER-DAT4.0\r\n"
        + struct.pack("<I", len(head))
        + head
        + data
        + (b"a data table" if table else b"")
    )


def _packet(identity: int, payload: bytes) -> bytes:
    return struct.pack("<ii", identity, len(payload)) + payload


def _compressed(data: bytes, compression: int) -> bytes:
    if compression in LZ4:
        return lz4.frame.compress(data)
    return zstandard.ZstdCompressor().compress(data) if compression in ZSTD else data


def _buffer(kind: bytes, items: Rows) -> bytes:
    """Encode a size, then a FlatBuffer: a table of one field, a vector of 16-byte structures."""
    body = struct.pack("<I4sHHH2xiI", 16, kind, 6, 8, 4, 8, 4)
    body += struct.pack("<I", len(items)) + b"".join(struct.pack("<qhhB3x", *row) for row in items)
    return struct.pack("<I", len(body)) + body


def ecf_chunk(events: Events, mode: int) -> bytes:
    """Encode in Prophesee's codec; `mode`: 2 packs y, x and p, 1 packs x and p, 0 neither."""
    t, x, y, p = (values.tolist() for values in (events.t, events.x, events.y, events.p))
    out = struct.pack("<IQ", len(t) << 2 | mode, t[0])
    now = t[0]
    for stamp, run in groupby(t):
        step, length = stamp - now, len(list(run))
        if step >= 15:
            while step:
                out += bytes((0xF0 | step & 15,))
                step >>= 4
        out += (
            bytes((step << 4 | length,))
            if length < 15
            else struct.pack("<BH", step << 4 | 15, length)
        )
        now = stamp
    pad = -len(t) % 4
    if mode == 2:
        values = [b << 12 | a << 1 | c for a, b, c in zip(x, y, p, strict=True)] + [0] * pad
        for a, b, c, d in zip(*(values[k::4] for k in range(4)), strict=True):
            out += struct.pack(
                "<III", a << 8 | b & 0xFF, b >> 8 << 16 | c & 0xFFFF, c >> 16 << 24 | d
            )
        return out
    for row, run in groupby(y):
        length = len(list(run))
        out += (
            struct.pack("<H", row << 5 | length)
            if length < 31
            else struct.pack("<HH", row << 5 | 31, length)
        )
    if mode == 1:
        values = [a << 1 | c for a, c in zip(x, p, strict=True)] + [0] * pad
        for a, b, c, d in zip(*(values[k::4] for k in range(4)), strict=True):
            out += struct.pack("<HHH", a << 4 | b & 15, b >> 4 << 8 | c & 255, c >> 8 << 12 | d)
        return out
    i = 0
    while i < len(x):
        first, mask, i = x[i], 0, i + 1
        for j in range(5):
            if i < len(x) and x[i] == first + j + 1:
                mask, i = mask | 16 >> j, i + 1
        out += struct.pack("<H", first << 5 | mask)
    for value, run in groupby(p):
        length = len(list(run))
        out += (
            bytes((value << 7 | length,))
            if length < 127
            else struct.pack("<BH", value << 7 | 127, length)
        )
    return out


def write_ecf(path: Path, events: Events, chunk: int, modes: tuple[int, ...] = (0, 1, 2)) -> None:
    """Write Prophesee's HDF5: /CD/events in chunks, compressed by these modes in turn.

    The chunks are written as they are: nobody needs the filter's plug-in.
    """
    import h5py

    table = np.dtype([("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])
    with h5py.File(path, "w") as file:
        file.attrs["geometry"] = f"{events.sensor[1]}x{events.sensor[0]}"
        space = h5py.h5s.create_simple((len(events),), (h5py.h5s.UNLIMITED,))
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((chunk,))
        properties.set_filter(0x8ECF, h5py.h5z.FLAG_OPTIONAL, ())
        group = file.create_group("CD")
        dataset = h5py.h5d.create(group.id, b"events", h5py.h5t.py_create(table), space, properties)
        for k, start in enumerate(range(0, len(events), chunk)):
            part = _part(events, slice(start, start + chunk))
            dataset.write_direct_chunk((start,), ecf_chunk(part, modes[k % len(modes)]))
