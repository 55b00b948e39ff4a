"""HDF5: DSEC's layout (`/events/t`, `x`, `y`, `p` and `/t_offset`), Prophesee's (`/CD/events`, with
ECF or not), and columns at the root.
"""

from collections.abc import Iterator
from typing import IO, Any

from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.hdf5 import check_heaps
from tmkt.readers.columns import check_types, find_columns, to_raw
from tmkt.readers.ecf import decode_chunk
from tmkt.readers.files import Input, Opened, Writer, damaged
from tmkt.readers.source import Raw

ECF = 0x8ECF  # the filter's number
LARGEST_CHUNK = 2**24  # rows of a compressed block: more is damage, or no way to store events
BROKEN = (
    OSError,
    KeyError,
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
)  # what h5py raises for damaged files
FILTERS = {
    32001: "blosc",
    32026: "blosc2",
    32015: "zstd",
    32004: "lz4",
    32008: "bitshuffle",
}  # what `hdf5plugin` adds


def open_hdf5(source: Input) -> Opened:
    """The events group or table of the file. Raises InputError where there is none, and where h5py
    or a filter of it is missing.
    """
    h5py = _h5py(source.name)
    try:
        file = h5py.File(source.file, "r")
        if isinstance(file.get("CD/events"), h5py.Dataset):
            datasets = {"CD/events": file["CD/events"]}
            names = find_columns(
                list(datasets["CD/events"].dtype.names or ()), f"{source.name}: /CD/events"
            )
            types = {key: datasets["CD/events"].dtype[name] for key, name in names.items()}
        else:
            group = file["events"] if isinstance(file.get("events"), h5py.Group) else file
            names = find_columns(
                [key for key in group if isinstance(group[key], h5py.Dataset)],
                f"{source.name}: {group.name}",
            )
            datasets = {key: group[name] for key, name in names.items()}
            types = {key: dataset.dtype for key, dataset in datasets.items()}
        check_types(types, source.options.time_unit, source.name)
        shapes = {dataset.shape for dataset in datasets.values()}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise InputError(
                f"{source.name}: columns of shapes {', '.join(map(str, shapes))}, expected one"
                " length; fetch the file again"
            )
        for dataset in datasets.values():
            _check_storage(source.name, dataset)
        offset = int(file["t_offset"][()]) if "t_offset" in file else 0
        return Opened(_raw(source, file, datasets, names, offset), _sensor(file, source.file))
    except BROKEN as error:
        raise InputError(
            f"{source.name}: the HDF5 file cannot be read ({_line(error)}); fetch the file again"
        ) from None


def _h5py(name: str) -> Any:
    try:
        import h5py
    except ImportError:
        raise InputError(
            f"{name}: an HDF5 file, and h5py is not installed; try: pip install 'tmkt[hdf5]'"
        ) from None
    return h5py


def _sensor(file: Any, content: IO[bytes]) -> tuple[int, int] | None:
    """From attributes: Prophesee's `geometry` ("1280x720"), or `height` and `width` as we write
    them.
    """
    if "geometry" in file.attrs and file.attrs.get_id("geometry").get_type().is_variable_str():
        check_heaps(content)  # where libhdf5 looks for it
    geometry = file.attrs.get("geometry", "")
    width, _, height = (
        geometry.decode() if isinstance(geometry, bytes) else str(geometry)
    ).partition("x")
    if width.isdecimal() and height.isdecimal() and len(width) < 9 and len(height) < 9:
        return int(height), int(width)
    if "height" in file.attrs and "width" in file.attrs:
        return int(file.attrs["height"]), int(file.attrs["width"])
    return None


def _check_storage(name: str, dataset: Any) -> None:
    if dataset.external or dataset.is_virtual:
        raise InputError(
            f"{name}: {dataset.name} lies in another file, expected the events in this one; repack"
            " it with h5repack"
        )
    if dataset.chunks and dataset.chunks[0] > LARGEST_CHUNK:
        raise InputError(
            f"{name}: blocks of {dataset.chunks[0]} rows, expected at most {LARGEST_CHUNK}; fetch"
            " the file again, or repack it"
        )
    import h5py

    for number in _filters(dataset):
        if number != ECF and not h5py.h5z.filter_avail(number):
            named = FILTERS.get(number, f"number {number}")
            raise InputError(
                f"{name}: compressed with the HDF5 filter {named}, which is not installed; try: pip"
                " install hdf5plugin, or h5repack -f GZIP=1"
            )


def _filters(dataset: Any) -> list[int]:
    properties = dataset.id.get_create_plist()
    return [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]


def _raw(
    source: Input, file: Any, datasets: dict[str, Any], names: dict[str, str], offset_us: int
) -> Iterator[Raw]:
    table = datasets.get("CD/events")
    total = (table if table is not None else datasets["t"]).shape[0]
    unit = source.options.time_unit
    try:
        if table is not None and ECF in _filters(table):
            yield from _ecf(source, table, total)
            return
        # Rows that are compressed together are decompressed once.
        block = max(
            [
                source.options.chunk,
                *(dataset.chunks[0] for dataset in datasets.values() if dataset.chunks),
            ]
        )
        for start in range(0, total, block):
            if table is not None:
                rows = table[start : start + block]
                values = {key: rows[name] for key, name in names.items()}
            else:
                values = {key: dataset[start : start + block] for key, dataset in datasets.items()}
            yield to_raw(values, unit, offset_us)
    except BROKEN as error:
        damaged(source, f"damaged ({_line(error)})")
    finally:
        file.close()


def _ecf(source: Input, table: Any, total: int) -> Iterator[Raw]:
    """Decodes the compressed chunks as they lie in the file: h5py knows no ECF."""
    for start in range(0, total, table.chunks[0]):
        mask, data = table.id.read_direct_chunk((start,))
        most = min(table.chunks[0], total - start)
        try:
            if mask:
                raise ValueError("stored without its filter")
            t, x, y, p = decode_chunk(data)
        except ValueError as error:
            damaged(source, f"the events from {start} on are damaged ({_line(error)})")
            source.counters.bad_records += most
            continue
        yield t[:most], x[:most], y[:most], p[:most]  # the last chunk is padded


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:80] or type(error).__name__


class Hdf5Writer(Writer):
    """Writes DSEC's columns, t in 64 bits, compressed with gzip; the sensor as attributes of the
    root.
    """

    CHUNK = 65536

    def __init__(self, file: IO[bytes], name: str, sensor: tuple[int, int]) -> None:
        super().__init__(file, name, sensor)
        self._hdf5 = _h5py(name).File(file, "w", libver="earliest", track_order=False)
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
        """Appends a chunk."""
        columns: tuple[NDArray[Any], ...] = (events.t, events.x, events.y, events.p)
        for column, values in zip(self._columns.values(), columns, strict=True):
            start = column.shape[0]
            column.resize(start + len(values), axis=0)
            column[start:] = values

    def finish(self) -> None:
        """Writes what HDF5 still holds back."""
        self._hdf5.close()

    def close(self) -> None:
        """Closes the file for HDF5, if it is not."""
        self._hdf5.close()
