"""HDF5 recordings in three layouts.

DSEC's (`/events/t`, `x`, `y`, `p` and `/t_offset`), Prophesee's (`/CD/events`, with ECF or not),
and columns at the root.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from tmkt.errors import InputError, one_line
from tmkt.hdf5 import check_heaps
from tmkt.install import pip_install
from tmkt.readers.columns import LARGEST_ITEM, check_types, find_columns, to_raw
from tmkt.readers.ecf import decode_chunk
from tmkt.readers.files import Input, Opened, report_damage
from tmkt.readers.source import Raw

ECF = 0x8ECF  # the filter's number
TABLE = "CD/events"  # Prophesee's
# Of a compressed block: more is damage, or no way to store events.
LARGEST_CHUNK, LARGEST_CHUNK_BYTES = 2**23, 2**27  # rows, bytes
# A file's rows by its bytes. The smallest that gzip makes of rows of 7 bytes (1032 to 1) are 147 a
# byte, all of them the same; rows that are not stored at all are read as zeros without an end.
MOST_ROWS_A_BYTE = 256
LARGEST_ATTRIBUTE = 2**16  # bytes
BROKEN = (  # raised by h5py for damaged files
    OSError,
    KeyError,
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
)
FILTERS = {  # of `hdf5plugin`
    32001: "blosc",
    32026: "blosc2",
    32015: "zstd",
    32004: "lz4",
    32008: "bitshuffle",
}


@dataclass(frozen=True)
class _Columns:
    """The columns t, x, y and p of a file: one table with fields, or a data set each."""

    datasets: dict[str, Any]  # by column; a table stands under TABLE
    names: dict[str, str]  # of the fields or data sets, by column
    types: dict[str, Any]  # by column

    @property
    def table(self) -> Any | None:
        return self.datasets.get(TABLE)


def open_hdf5(source: Input) -> Opened:
    """Open the events group or table of the file.

    Raises InputError if there is none, and if h5py or a filter of the file is missing.
    """
    h5py = import_h5py(source.name)
    try:
        file = h5py.File(source.file, "r")
        columns = _find(h5py, file, source.name)
        check_types(columns.types, source.options.time_unit, source.name)
        shapes = {dataset.shape for dataset in columns.datasets.values()}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise InputError(
                f"{source.name}: columns of shapes {', '.join(map(str, shapes))}, expected one"
                " length; fetch the file again"
            )
        size = source.file.seek(0, 2)
        for dataset in columns.datasets.values():
            _check_storage(source.name, dataset, size)
        offset_us = _offset_us(file, source.name)
        chunks = _read_chunks(source, file, columns, offset_us)
        return Opened(chunks, _sensor(file, source.file))
    except BROKEN as error:
        raise InputError(
            f"{source.name}: the HDF5 file cannot be read ({one_line(error)}); fetch the file again"
        ) from None


def _find(h5py: Any, file: Any, name: str) -> _Columns:
    _refuse_links(h5py, file, name)
    if isinstance(file.get("CD"), h5py.Group):
        _refuse_links(h5py, file["CD"], name)
    if isinstance(file.get(TABLE), h5py.Dataset):
        table = file[TABLE]
        names = find_columns(list(table.dtype.names or ()), f"{name}: /{TABLE}")
        return _Columns({TABLE: table}, names, {key: table.dtype[n] for key, n in names.items()})
    group = file["events"] if isinstance(file.get("events"), h5py.Group) else file
    _refuse_links(h5py, group, name)
    datasets = [key for key in group if isinstance(group[key], h5py.Dataset)]
    names = find_columns(datasets, f"{name}: {group.name}")
    found = {key: group[n] for key, n in names.items()}
    return _Columns(found, names, {key: dataset.dtype for key, dataset in found.items()})


def _refuse_links(h5py: Any, group: Any, name: str) -> None:
    """Refuse items that lie in other files, before they are opened."""
    for key in group:
        if isinstance(group.get(key, getlink=True), h5py.ExternalLink):
            raise InputError(
                f"{name}: {key} is a link into another file, expected the events in this one;"
                " repack it with h5repack"
            )


def _offset_us(file: Any, name: str) -> int:
    """Give what is added to all stamps, as DSEC has it."""
    if "t_offset" not in file:
        return 0
    offset = file["t_offset"]
    if offset.size != 1 or offset.dtype.kind not in "iuf":
        raise InputError(
            f"{name}: t_offset of type {offset.dtype} and shape {offset.shape}, expected one"
            " number; fetch the file again"
        )
    return int(offset[()].item())


def import_h5py(name: str) -> Any:
    try:
        import h5py
    except ImportError:
        raise InputError(
            f"{name}: an HDF5 file, and h5py is not installed; {pip_install('hdf5')}"
        ) from None
    return h5py


def _sensor(file: Any, content: IO[bytes]) -> tuple[int, int] | None:
    """Give (height, width) by attributes.

    They are Prophesee's `geometry` ("1280x720"), or `height` and `width` as we write them.
    """
    for key in ("geometry", "height", "width"):
        if key in file.attrs and file.attrs.get_id(key).get_storage_size() > LARGEST_ATTRIBUTE:
            raise ValueError(f"attribute {key} of more than {LARGEST_ATTRIBUTE} bytes")
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


def _check_storage(name: str, dataset: Any, size: int) -> None:
    """Refuse a data set that would read other files, or take too much memory or time.

    `size` is that of the file in bytes.
    """
    if dataset.external or dataset.is_virtual:
        raise InputError(
            f"{name}: {dataset.name} lies in another file, expected the events in this one; repack"
            " it with h5repack"
        )
    width = dataset.dtype.itemsize
    if not 0 < width <= LARGEST_ITEM:
        raise InputError(
            f"{name}: {dataset.name} has rows of {width} bytes, expected at most {LARGEST_ITEM};"
            " fetch the file again"
        )
    if dataset.shape[0] > MOST_ROWS_A_BYTE * size:
        raise InputError(
            f"{name}: {dataset.name} has {dataset.shape[0]} rows in a file of {size} bytes,"
            f" expected at most {MOST_ROWS_A_BYTE} a byte; it is cut off or damaged, fetch it again"
        )
    rows = dataset.chunks[0] if dataset.chunks else 0
    if rows > LARGEST_CHUNK or rows * width > LARGEST_CHUNK_BYTES:
        raise InputError(
            f"{name}: blocks of {rows} rows of {width} bytes, expected at most {LARGEST_CHUNK} rows"
            f" and {LARGEST_CHUNK_BYTES} bytes; fetch the file again, or repack it"
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


def _read_chunks(source: Input, file: Any, columns: _Columns, offset_us: int) -> Iterator[Raw]:
    table, unit = columns.table, source.options.time_unit
    total = next(iter(columns.datasets.values())).shape[0]
    try:
        if table is not None and ECF in _filters(table):
            yield from _read_ecf(source, table, total)
            return
        # Rows that are compressed together are decompressed once.
        blocks = [dataset.chunks[0] for dataset in columns.datasets.values() if dataset.chunks]
        block = max([source.options.chunk, *blocks])
        for start in range(0, total, block):
            rows = slice(start, start + block)
            if table is not None:
                part = table[rows]
                values = {key: part[name] for key, name in columns.names.items()}
            else:
                values = {key: dataset[rows] for key, dataset in columns.datasets.items()}
            chunk = source.options.chunk
            for at in range(0, min(block, total - start), chunk):
                columns_part = {key: column[at : at + chunk] for key, column in values.items()}
                yield to_raw(columns_part, unit, offset_us)
    except BROKEN as error:
        report_damage(source, f"damaged ({one_line(error)})")
    finally:
        file.close()


def _read_ecf(source: Input, table: Any, total: int) -> Iterator[Raw]:
    """Decode the compressed chunks as they lie in the file: h5py knows no ECF."""
    for start in range(0, total, table.chunks[0]):
        mask, data = table.id.read_direct_chunk((start,))
        most = min(table.chunks[0], total - start)
        try:
            if mask:
                raise ValueError("stored without its filter")
            raw = decode_chunk(data)
        except ValueError as error:
            found = f"the events from {start} on are damaged ({one_line(error)})"
            report_damage(source, found)
            source.counters.bad_records += most
            continue
        yield raw.first(most)  # the last chunk is padded
