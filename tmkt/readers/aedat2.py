"""AEDAT 1 and 2 (jAER): lines of text, then records of an address and a stamp.

The lines begin with `#`. Records are big-endian: an address of 16 bits (AEDAT 1) or 32 (AEDAT 2),
and a stamp of 32 bits in microseconds. The chip decides what an address means, and the header may
name it. Coordinates here have their origin at the top left:

- DVS128 (jAER, `DVS128.java`): polarity is bit 0, 0 = on; x = 127 - bits 7..1; y counts from below
  in bits 14..8; bit 15 is no event.
- DAVIS240 and DAVIS346: bit 31 (frame or IMU) and bit 10 (external) are no events; polarity is bit
  11, 1 = on; x (bits 21..12) and y (bits 30..22) are turned by 180 degrees, as jAER shows them. Not
  verified against a known scene.

tonic's `read_dvs_128` swaps x and y, turns nothing and takes 1 for on: CIFAR10-DVS read that way is
a transposed picture.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.readers import clock
from tmkt.readers.files import Input, Opened, Writer, record_blocks
from tmkt.readers.source import Raw

LONGEST_HEADER = 2**22  # preferences are written into it: 304 kB seen
PROBE = 65536  # bytes of records looked at where no chip is named
VERSIONS = {b"#!AER-DAT1.": 1, b"#!AER-DAT2.": 2}
RECORDS = {1: np.dtype([("a", ">u2"), ("t", ">u4")]), 2: np.dtype([("a", ">u4"), ("t", ">u4")])}


@dataclass(frozen=True)
class Layout:
    """Places of the fields in an address."""

    sensor: tuple[int, int]  # (height, width)
    x_shift: int
    x_mask: int
    y_shift: int
    y_mask: int
    p_shift: int
    on: int  # the polarity bit of an on event
    no_event: int  # bits that mark something else
    chip: str  # as the header names it


DVS128 = Layout(
    sensor=(128, 128),
    x_shift=1,
    x_mask=0x7F,
    y_shift=8,
    y_mask=0x7F,
    p_shift=0,
    on=0,
    no_event=0x8000,
    chip="ch.unizh.ini.jaer.chip.retina.DVS128",
)
DAVIS240 = Layout(
    sensor=(180, 240),
    x_shift=12,
    x_mask=0x3FF,
    y_shift=22,
    y_mask=0x1FF,
    p_shift=11,
    on=1,
    no_event=1 << 31 | 1 << 10,
    chip="eu.seebetter.ini.chips.davis.DAVIS240C",
)
DAVIS346 = replace(DAVIS240, sensor=(260, 346), chip="eu.seebetter.ini.chips.davis.Davis346blue")
LAYOUTS = {"dvs128": DVS128, "davis240": DAVIS240, "davis346": DAVIS346}


def open_aedat2(source: Input) -> Opened:
    """Open a recording with the layout of the header's chip, else the option `layout`, else DVS128.

    That DVS128 is assumed is noted. Raises InputError for an unknown chip.
    """
    version, chip = _read_header(source)
    notes: list[str] = []
    asked = source.options.layout
    if asked is not None and asked not in LAYOUTS:
        raise InputError(f"--layout {asked!r}: unknown, expected one of {', '.join(LAYOUTS)}")
    known = _layout_of_chip(chip)
    if asked is None and chip and not known:
        raise InputError(
            f"{source.name}: recorded with {chip}, known are {', '.join(LAYOUTS)}; name the one"
            " whose addresses it has with --layout"
        )
    name = asked or known or "dvs128"
    if asked is None and not chip:
        if version == 2:
            _refuse_wide_addresses(source)
        notes.append("the header names no chip: DVS128 assumed")
    layout = LAYOUTS[name]
    if version == 1 and name != "dvs128":
        raise InputError(
            f"{source.name}: AEDAT 1 has addresses of 16 bits, those of {name} need 32; leave"
            " --layout out"
        )
    return Opened(_read_chunks(source, layout, RECORDS[version]), layout.sensor, notes)


def sensor_of_chip(chip: str) -> tuple[int, int] | None:
    """Give (height, width) of a chip by its name in a header; None for an unknown chip."""
    name = _layout_of_chip(chip)
    return None if name is None else LAYOUTS[name].sensor


def _layout_of_chip(chip: str) -> str | None:
    name = chip.rpartition(".")[2].lower()
    return next((key for key in LAYOUTS if key in name), None)


def _read_header(source: Input) -> tuple[int, str]:
    """Give the version and the chip ("" if not named); leave the file at the first record.

    A record may begin with `#`, too, but is no printable line.
    """
    file, name = source.file, source.name
    first = file.readline(64)
    version = VERSIONS.get(first[:11], 0)
    if not version:
        raise InputError(
            f"{name}: begins with {first[:16]!r}, expected #!AER-DAT1.0 or #!AER-DAT2.0; choose"
            " another --format"
        )
    chip = ""
    while (start := file.tell()) < LONGEST_HEADER:
        line = file.readline(LONGEST_HEADER)
        text = line.rstrip(b"\r\n")
        printable = all(byte >= 32 or byte == 9 for byte in text) and b"\x7f" not in text
        if not (line.startswith(b"#") and line.endswith(b"\n") and printable):
            file.seek(start)
            return version, chip
        if text.startswith(b"# AEChip:"):
            chip = text.partition(b":")[2].strip().decode("ascii", "replace")
        if text.lower().startswith((b"#end of ascii header", b"# end of ascii header")):
            return version, chip
    raise InputError(
        f"{name}: a header of more than {LONGEST_HEADER} bytes, expected less; fetch the file again"
    )


def _refuse_wide_addresses(source: Input) -> None:
    start = source.file.tell()
    head = source.file.read(PROBE)
    source.file.seek(start)
    size = RECORDS[2].itemsize
    addresses = np.frombuffer(head[: len(head) // size * size], RECORDS[2])["a"]
    wide = int(np.count_nonzero(addresses >> 16))
    if wide > 0.01 * len(addresses):
        raise InputError(
            f"{source.name}: names no chip, and {wide} of the first {len(addresses)} addresses are"
            f" not of a DVS128; name the chip with --layout {', '.join(LAYOUTS)}"
        )


def _read_chunks(source: Input, layout: Layout, record: np.dtype[Any]) -> Iterator[Raw]:
    state = np.zeros(clock.STATE, np.int64)
    height, width = layout.sensor
    for block in record_blocks(source.file, record.itemsize, source.options.chunk, source.counters):
        fields = block.view(record)
        a: NDArray[np.uint32] = fields["a"].astype(np.uint32)
        t = np.empty(len(a), np.int64)
        clock.unwrap32(fields["t"].astype(np.uint32), state, t)
        source.counters.wraps = int(state[clock.WRAPS])
        is_event = (a & layout.no_event) == 0
        a, t = a[is_event], t[is_event]
        # A coordinate below 0 becomes a huge one: the check drops it.
        x = width - 1 - (a >> layout.x_shift & layout.x_mask).astype(np.int64)
        y = height - 1 - (a >> layout.y_shift & layout.y_mask).astype(np.int64)
        on = (a >> layout.p_shift & 1) == layout.on
        yield Raw(t, x.astype(np.uint16), y.astype(np.uint16), on.astype(np.uint8))


class Aedat2Writer(Writer):
    """Writer of version 2.0 for the three chips; the sensor's size chooses the chip."""

    def __init__(self, file: IO[bytes], name: str, sensor: tuple[int, int]) -> None:
        layouts = [layout for layout in LAYOUTS.values() if layout.sensor == sensor]
        if not layouts:
            sizes = ", ".join(
                f"{layout.sensor[1]}x{layout.sensor[0]}" for layout in LAYOUTS.values()
            )
            raise InputError(
                f"{name}: a sensor of {sensor[1]}x{sensor[0]}, AEDAT2 is written for {sizes} only;"
                " choose another format"
            )
        super().__init__(file, name, sensor)
        self._layout = layouts[0]
        file.write(
            f"#!AER-DAT2.0\r\n# AEChip: {self._layout.chip}\r\n#End Of ASCII Header\r\n".encode()
        )

    def write(self, events: Events) -> None:
        """Append a chunk. Raises InputError for stamps that the format cannot hold."""
        if len(events) and events.t[-1] >= 2**32:
            raise InputError(
                f"{self._name}: stamps of {events.t[-1]} us do not fit AEDAT2 (below 2^32); use"
                " --from-zero"
            )
        layout = self._layout
        height, width = layout.sensor
        words = np.empty((len(events), 2), ">u4")
        x, y = width - 1 - events.x.astype(np.int64), height - 1 - events.y.astype(np.int64)
        words[:, 0] = (
            x << layout.x_shift
            | y << layout.y_shift
            | (events.p == layout.on).astype(np.int64) << layout.p_shift
        )
        words[:, 1] = events.t
        self._file.write(words.tobytes())
