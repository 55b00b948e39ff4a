"""NumPy `.npz` (one array a column, or one structured array) and `.npy` (one structured array).

They are read piece by piece, and nothing is unpickled. `.npz` members are decompressed in step, so
memory stays bounded, while `np.load` would hold all of it.
"""

import io
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError, one_line
from tmkt.events.types import Events
from tmkt.readers.columns import LARGEST_ITEM, check_types, find_columns, to_raw
from tmkt.readers.files import Input, Opened, Writer, report_damage
from tmkt.readers.source import Raw

BROKEN = (  # raised by zipfile and NumPy's header parser for damaged files
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    tokenize.TokenError,
    struct.error,
    EOFError,
    ValueError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    TypeError,
    SyntaxError,
    IndexError,
    AttributeError,
    MemoryError,
)
EPOCH = (1980, 1, 1, 0, 0, 0)  # the date of all members: the same events give the same bytes
COLUMNS = {"t": "<i8", "x": "<u2", "y": "<u2", "p": "u1"}
COPY = 2**20  # bytes at a time
LONGEST_HEADER = 10_000  # bytes of an array's header: NumPy parses no longer one
PACKING = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # NumPy's; others unpack without bounds


class Header(NamedTuple):
    """Header of an array: `columns_first` where its first axis changes fastest (Fortran order)."""

    shape: tuple[int, ...]
    columns_first: bool
    dtype: np.dtype[Any]


def read_header(file: IO[bytes], name: str) -> Header:
    """Read an array's header; the file then stands at its first value.

    Raises InputError for a header that cannot be read, is too long, or tells of Python objects.
    """
    try:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise InputError(
                f"{name}: an array of format {version}, expected 1.0 or 2.0; save it again with"
                " numpy.save"
            )
        size = file.read(2 if version == (1, 0) else 4)
        length = int.from_bytes(size, "little")
        if length > LONGEST_HEADER:
            raise ValueError(f"{length} bytes long, expected at most {LONGEST_HEADER}")
        parse = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        header = Header(*parse(io.BytesIO(size + file.read(length))))
    except BROKEN as error:
        raise InputError(
            f"{name}: the NumPy header cannot be read ({one_line(error)}); fetch the file again"
        ) from None
    if header.dtype.hasobject:
        raise InputError(
            f"{name}: holds Python objects, expected numbers; nothing is unpickled, save plain"
            " arrays"
        )
    return header


def read_npz(path: Path, max_bytes: int) -> dict[str, NDArray[Any]]:
    """Read all arrays of a `.npz` file, as many bytes as their headers say and no more.

    Raises InputError for a file that is damaged, holds Python objects, is packed otherwise than
    NumPy does, or unpacks to more than `max_bytes`.
    """
    arrays: dict[str, NDArray[Any]] = {}
    left = max_bytes
    bad = f"{path}: the .npz archive cannot be read"
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type not in PACKING for member in archive.infolist()):
                raise InputError(
                    f"{bad}, it is packed otherwise than numpy.savez does; save it again"
                )
            for member in archive.namelist():
                with archive.open(member) as file:
                    header = read_header(file, f"{path}, {member}")
                    size = prod(header.shape) * header.dtype.itemsize
                    left -= size
                    if min(header.shape, default=0) < 0 or left < 0:
                        raise InputError(
                            f"{path}: arrays beyond {max_bytes} bytes, expected at most that; save"
                            " fewer recordings"
                        )
                    values = np.frombuffer(file.read(size), header.dtype)
                order: Literal["F", "C"] = "F" if header.columns_first else "C"
                arrays[member.removesuffix(".npy")] = values.reshape(header.shape, order=order)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check its name") from None
    except BROKEN as error:
        raise InputError(f"{bad} ({one_line(error)}); fetch the file again") from None
    return arrays


class _Array:
    """A one-dimensional array in a file, read from front to back."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self.shape, _, self.dtype = read_header(file, name)
        if not 0 < self.dtype.itemsize <= LARGEST_ITEM or any(n < 0 for n in self.shape):
            raise InputError(
                f"{name}: an array of shape {self.shape} and type {self.dtype}, expected one value"
                " an event"
            )

    def read(self, n: int) -> NDArray[Any]:
        """Read the next n values; fewer if the file ends early."""
        data = bytearray()
        while len(data) < n * self.dtype.itemsize and (
            more := self._file.read(n * self.dtype.itemsize - len(data))
        ):
            data += more
        return np.frombuffer(data, self.dtype, len(data) // self.dtype.itemsize)


def open_npy(source: Input) -> Opened:
    """Open one structured array with fields for t, x, y and p.

    Raises InputError for anything else.
    """
    return Opened(_structured(source, _Array(source.file, source.name)), None)


def open_npz(source: Input) -> Opened:
    """Open arrays named t, x, y, p (or as in `columns.NAMES`), or one structured array.

    An array `sensor` holds (height, width) if the file has it.
    """
    try:
        archive = zipfile.ZipFile(source.file)
        packed = {member.compress_type for member in archive.infolist()} - set(PACKING)
        if packed:
            raise InputError(
                f"{source.name}: compressed with method {min(packed)} of ZIP, expected numpy.savez"
                " or savez_compressed; save it again"
            )
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        sensor = None
        if "sensor" in names:
            names.remove("sensor")
            said = _Array(archive.open("sensor.npy"), source.name).read(2)
            sensor = (int(said[0]), int(said[1]))
        if len(names) == 1:
            return Opened(
                _structured(source, _Array(archive.open(f"{names[0]}.npy"), source.name)), sensor
            )
        arrays = {
            key: _Array(archive.open(f"{name}.npy"), source.name)
            for key, name in find_columns(names, source.name).items()
        }
    except BROKEN as error:
        raise InputError(
            f"{source.name}: the .npz archive cannot be read ({one_line(error)}); fetch the file"
            " again"
        ) from None
    check_types(
        {key: array.dtype for key, array in arrays.items()}, source.options.time_unit, source.name
    )
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise InputError(
            f"{source.name}: columns of shapes {', '.join(map(str, sorted(shapes)))}, expected one"
            " length; fetch the file again"
        )
    return Opened(_columns(source, arrays), sensor)


def _structured(source: Input, array: _Array) -> Iterator[Raw]:
    dtype = array.dtype
    if dtype.names is None or len(array.shape) != 1:
        raise InputError(
            f"{source.name}: an array of shape {array.shape} and type {dtype}, expected one"
            " dimension and fields t, x, y, p"
        )
    names = find_columns(list(dtype.names), source.name)
    check_types(
        {key: dtype[name] for key, name in names.items()}, source.options.time_unit, source.name
    )

    def pieces() -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
        for n in _piece_sizes(array.shape[0], source.options.chunk):
            values = array.read(n)
            yield n, {key: values[name] for key, name in names.items()}

    return _convert(source, pieces())


def _columns(source: Input, arrays: dict[str, _Array]) -> Iterator[Raw]:
    sizes = _piece_sizes(arrays["t"].shape[0], source.options.chunk)
    pieces = ((n, {key: array.read(n) for key, array in arrays.items()}) for n in sizes)
    return _convert(source, pieces)


def _convert(source: Input, pieces: Iterator[tuple[int, dict[str, NDArray[Any]]]]) -> Iterator[Raw]:
    """Convert pieces: the number of events expected, and their columns by name."""
    try:
        for n, values in pieces:
            got = min(map(len, values.values()))
            yield to_raw(
                {key: column[:got] for key, column in values.items()}, source.options.time_unit
            )
            if got < n:
                report_damage(source, "cut off: it ends before the arrays that its header tells of")
                return
    except BROKEN as error:
        report_damage(source, f"damaged ({one_line(error)})")


def _piece_sizes(total: int, chunk: int) -> Iterator[int]:
    return (min(chunk, total - at) for at in range(0, total, chunk))


class NpzWriter(Writer):
    """Writer of compressed `.npz`: t, x, y, p and the sensor.

    The columns wait in temporary files, so memory stays bounded.
    """

    def __init__(self, file: IO[bytes], name: str, sensor: tuple[int, int]) -> None:
        super().__init__(file, name, sensor)
        self._sensor, self._events = sensor, 0
        self._columns: dict[str, IO[bytes]] = {key: tempfile.TemporaryFile() for key in COLUMNS}  # noqa: SIM115

    def write(self, events: Events) -> None:
        """Append a chunk."""
        columns: tuple[NDArray[Any], ...] = (events.t, events.x, events.y, events.p)
        for (key, dtype), column in zip(COLUMNS.items(), columns, strict=True):
            self._columns[key].write(column.astype(dtype).tobytes())
        self._events += len(events)

    def finish(self) -> None:
        """Write the archive."""
        with zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED) as archive:
            for key, dtype in COLUMNS.items():
                column = self._columns[key]
                column.seek(0)
                with _member(archive, key, dtype, self._events) as member:
                    while piece := column.read(COPY):
                        member.write(piece)
            with _member(archive, "sensor", "<i8", 2) as member:
                member.write(np.array(self._sensor, "<i8").tobytes())

    def close(self) -> None:
        """Remove the temporary files."""
        for column in self._columns.values():
            column.close()


def _member(archive: zipfile.ZipFile, name: str, dtype: str, length: int) -> IO[bytes]:
    info = zipfile.ZipInfo(f"{name}.npy", EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    member = archive.open(info, "w", force_zip64=True)
    np.lib.format.write_array_header_1_0(
        member, {"descr": dtype, "fortran_order": False, "shape": (length,)}
    )
    return member
