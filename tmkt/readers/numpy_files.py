"""NumPy `.npz` (one array a column, or one structured array) and `.npy` (one structured array),
read piece by piece.

Nothing is unpickled. `.npz` members are decompressed in step, so memory stays bounded where
`np.load` would hold all of it.
"""

import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.readers.columns import check_types, find_columns, to_raw
from tmkt.readers.files import Input, Opened, Writer, damaged
from tmkt.readers.source import Raw

# What zipfile and NumPy's header parser raise for damaged files.
BROKEN = (
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
)
EPOCH = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # the date of members that are written: the same events give the same bytes
COLUMNS = {"t": "<i8", "x": "<u2", "y": "<u2", "p": "u1"}
COPY = 2**20  # bytes at a time
LARGEST_ITEM = 256  # bytes of an event: memory is allocated by it


class _Array:
    """A one-dimensional array in a file, read from front to back."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise InputError(
                f"{name}: an array of format {version}, expected 1.0 or 2.0; save it again with"
                " numpy.save"
            )
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        self.shape, _, self.dtype = read(file)
        if self.dtype.hasobject:
            raise InputError(
                f"{name}: holds Python objects, expected numbers; nothing is unpickled, save plain"
                " arrays"
            )
        if not 0 < self.dtype.itemsize <= LARGEST_ITEM or any(n < 0 for n in self.shape):
            raise InputError(
                f"{name}: an array of shape {self.shape} and type {self.dtype}, expected one value"
                " an event"
            )

    def read(self, n: int) -> NDArray[Any]:
        """The next n values; fewer where the file ends early."""
        data = bytearray()
        while len(data) < n * self.dtype.itemsize and (
            more := self._file.read(n * self.dtype.itemsize - len(data))
        ):
            data += more
        return np.frombuffer(data, self.dtype, len(data) // self.dtype.itemsize)


def open_npy(source: Input) -> Opened:
    """One structured array with fields for t, x, y and p. Raises InputError for anything else."""
    try:
        array = _Array(source.file, source.name)
    except BROKEN as error:
        raise InputError(
            f"{source.name}: the NumPy header cannot be read ({_line(error)}); fetch the file again"
        ) from None
    return Opened(_structured(source, array), None)


def open_npz(source: Input) -> Opened:
    """Arrays named t, x, y, p (or as in `columns.NAMES`), or one structured array; `sensor`
    (height, width) where the file has it.
    """
    try:
        archive = zipfile.ZipFile(source.file)
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
    except (*BROKEN, IndexError) as error:
        raise InputError(
            f"{source.name}: the .npz archive cannot be read ({_line(error)}); fetch the file again"
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
        for n in _steps(array.shape[0], source.options.chunk):
            values = array.read(n)
            yield n, {key: values[name] for key, name in names.items()}

    return _raw(source, pieces())


def _columns(source: Input, arrays: dict[str, _Array]) -> Iterator[Raw]:
    steps = _steps(arrays["t"].shape[0], source.options.chunk)
    return _raw(source, ((n, {key: array.read(n) for key, array in arrays.items()}) for n in steps))


def _raw(source: Input, pieces: Iterator[tuple[int, dict[str, NDArray[Any]]]]) -> Iterator[Raw]:
    try:
        for n, values in pieces:
            got = min(map(len, values.values()))
            yield to_raw(
                {key: column[:got] for key, column in values.items()}, source.options.time_unit
            )
            if got < n:
                damaged(source, "cut off: it ends before the arrays that its header tells of")
                return
    except BROKEN as error:
        damaged(source, f"damaged ({_line(error)})")


def _steps(total: int, chunk: int) -> Iterator[int]:
    return (min(chunk, total - at) for at in range(0, total, chunk))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:80] or type(error).__name__


class NpzWriter(Writer):
    """Writes `.npz`, compressed: t, x, y, p and the sensor. The columns wait in temporary files, so
    memory stays bounded.
    """

    def __init__(self, file: IO[bytes], name: str, sensor: tuple[int, int]) -> None:
        super().__init__(file, name, sensor)
        self._sensor, self._events = sensor, 0
        self._columns: dict[str, IO[bytes]] = {key: tempfile.TemporaryFile() for key in COLUMNS}  # noqa: SIM115

    def write(self, events: Events) -> None:
        """Appends a chunk."""
        columns: tuple[NDArray[Any], ...] = (events.t, events.x, events.y, events.p)
        for (key, dtype), column in zip(COLUMNS.items(), columns, strict=True):
            self._columns[key].write(column.astype(dtype).tobytes())
        self._events += len(events)

    def finish(self) -> None:
        """Writes the archive."""
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
        """Removes the temporary files."""
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
