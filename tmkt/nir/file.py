"""Reading of .nir files, of any writer."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmkt.errors import InputError, NotInstalled, one_line
from tmkt.hdf5 import check_hdf5
from tmkt.install import pip_install

if TYPE_CHECKING:
    import nir

MAX_FILE_BYTES = 2**31  # of all arrays of a file together, unpacked
# What a file may unpack to by its size: nir.write packs with gzip, which makes nothing of equal
# numbers (parameters of millions of neurons), and little less of trained weights.
EQUAL_BYTES, BYTES_A_BYTE = 2**27, 32


def import_nir() -> Any:
    """Import the nir package, which brings no torch; InputError where it is not installed."""
    try:
        import nir
    except ImportError:
        raise NotInstalled(
            "the package nir is not installed, and .nir files need it", pip_install("export")
        ) from None
    return nir


def read_nir(path: Path, named: Path | None = None) -> "nir.NIRGraph":
    """Read a .nir file. InputError if it is missing, not NIR, of a newer version than the nir
    package, or larger than MAX_FILE_BYTES; it names `named`, if the file is a copy of that.
    """
    nir = import_nir()
    import h5py

    named = named or path
    if not path.is_file():
        raise InputError(f"{named}: no such file, expected a .nir file; check its name")
    bad = f"{named}: not a readable NIR file"
    try:
        unpacked = EQUAL_BYTES + BYTES_A_BYTE * path.stat().st_size
        check_hdf5(path, min(MAX_FILE_BYTES, unpacked))
        with h5py.File(path, "r") as file:
            version = file["version"][()].decode("utf8") if "version" in file else "1"
            if _numbers(version) > _numbers(nir.version):
                raise InputError(
                    f"{named}: written by nir {version}, expected at most {nir.version}, which is"
                    " installed; pip install --upgrade nir"
                )
        # nir's own check is wrong for grouped convolutions and for kernels that are not square
        graph = nir.read(path, type_check=False)
    except (
        OSError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        AssertionError,
        IndexError,
        RuntimeError,
        OverflowError,
    ) as error:
        what = one_line(error, 100)
        raise InputError(
            f"{bad} ({type(error).__name__}: {what}); write it again with nir.write"
        ) from None
    if not isinstance(graph, nir.NIRGraph):
        raise InputError(
            f"{bad} (holds a single {type(graph).__name__}), expected a graph with input and"
            " output; write a nir.NIRGraph"
        )
    return graph


def _numbers(version: str) -> tuple[int, ...]:
    """Parse major and minor. Within a minor version nir only adds fields, and it refuses a field
    that it does not know by name.
    """
    return tuple(int(part) for part in version.split(".")[:2])
