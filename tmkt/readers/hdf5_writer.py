"""Writer of HDF5 recordings."""

import io
from collections.abc import Callable
from typing import IO, Any

from numpy.typing import NDArray

from tmkt.events.types import Events
from tmkt.readers.files import Writer
from tmkt.readers.hdf5 import import_h5py


class _ErrorsKept(io.RawIOBase):
    """A file for libhdf5 that keeps its first error until it is asked.

    After an error in a write, libhdf5 (1.14 and 2.0) cannot close the file, and ends the process.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._error: BaseException | None = None
        self._at = self._size = 0

    def raise_error(self) -> None:
        """Raise the first error; nothing was written after it."""
        if self._error is not None:
            raise self._error

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self._attempt(self._file.read, len(buffer)) or b""
        buffer[:] = data.ljust(len(buffer), b"\0")  # shorter only after an error
        self._at += len(buffer)
        return len(buffer)

    def write(self, data: Any) -> int:
        self._attempt(self._file.write, data)
        self._at += len(data)
        self._size = max(self._size, self._at)
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        self._size = self._at if size is None else size
        self._attempt(self._file.truncate, self._size)
        return self._size

    def flush(self) -> None:
        if not self._file.closed:
            self._attempt(self._file.flush)

    def _attempt(self, work: Callable[..., Any], *arguments: Any) -> Any:
        if self._error is not None:
            return None
        try:
            self._file.seek(self._at)
            return work(*arguments)
        except BaseException as error:  # Ctrl-C would end the process here as well
            self._error = error


class Hdf5Writer(Writer):
    """Writer of DSEC's columns, compressed with gzip.

    t has 64 bits; the sensor is stored as attributes of the root.
    """

    CHUNK = 65536

    def __init__(self, file: IO[bytes], name: str, sensor: tuple[int, int]) -> None:
        super().__init__(file, name, sensor)
        self._kept = _ErrorsKept(file)
        self._hdf5 = import_h5py(name).File(self._kept, "w", libver="earliest", track_order=False)
        self._hdf5.attrs["height"], self._hdf5.attrs["width"] = sensor
        self._columns = {
            key: self._hdf5.create_dataset(
                f"events/{key}",
                (0,),
                dtype,
                maxshape=(None,),
                chunks=(self.CHUNK,),
                compression="gzip",
                compression_opts=1,
                shuffle=True,
                track_times=False,
            )
            for key, dtype in (("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1"))
        }

    def write(self, events: Events) -> None:
        """Append a chunk."""
        columns: tuple[NDArray[Any], ...] = (events.t, events.x, events.y, events.p)
        for column, values in zip(self._columns.values(), columns, strict=True):
            start = column.shape[0]
            column.resize(start + len(values), axis=0)
            column[start:] = values
            self._kept.raise_error()

    def finish(self) -> None:
        """Write everything that HDF5 still holds back."""
        self._hdf5.close()
        self._kept.raise_error()

    def close(self) -> None:
        """Close the file for HDF5 unless it is closed."""
        self._hdf5.close()
