"""Reads .nir files, of any writer."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmkt.errors import InputError

if TYPE_CHECKING:
    import nir

MAX_FILE_BYTES = 2**31  # of all arrays of a file together, when unpacked
MAX_NODES = 2_000  # ours: a name and an edge cost a file little, but not its reader


def import_nir() -> Any:
    """The nir package; InputError saying how to install it where it is missing. It brings no torch."""
    try:
        import nir
    except ImportError:
        raise InputError("the package nir is not installed, and .nir files need it; install it with: pip install 'tmkt[export]'") from None
    return nir


def read_nir(path: Path) -> "nir.NIRGraph":
    """Reads a .nir file. InputError if it is missing, not NIR, of a newer version than the nir package, or beyond the sizes above."""
    nir = import_nir()
    import h5py

    if not path.is_file():
        raise InputError(f"{path}: no such file, expected a .nir file; check its name")
    bad = f"{path}: not a readable NIR file"
    try:
        with h5py.File(path, "r") as file:
            _check_size(file, path)
            version = file["version"][()].decode("utf8") if "version" in file else "1"
            if _numbers(version) > _numbers(nir.version):
                raise InputError(f"{path}: written by nir {version}, expected at most {nir.version}, which is installed; pip install --upgrade nir")
        graph = nir.read(path, type_check=False)  # nir's own check is wrong for grouped convolutions and for kernels that are not square
    except (OSError, KeyError, ValueError, TypeError, AttributeError, AssertionError, IndexError, RuntimeError, OverflowError) as error:
        what = " ".join(str(error).split())[:100]
        raise InputError(f"{bad} ({type(error).__name__}: {what}); write it again with nir.write") from None
    if not isinstance(graph, nir.NIRGraph):
        raise InputError(f"{bad} (holds a single {type(graph).__name__}), expected a graph with input and output; write a nir.NIRGraph")
    return graph


def _check_size(file: Any, path: Path) -> None:
    """Before anything is unpacked."""
    import h5py

    sizes: list[int] = []

    def look(_: str, item: object) -> None:
        sizes.append(int(item.nbytes) if isinstance(item, h5py.Dataset) else 0)

    file.visititems(look)
    if sum(sizes) > MAX_FILE_BYTES:
        raise InputError(f"{path}: unpacks to {sum(sizes)} bytes, expected at most {MAX_FILE_BYTES}; choose a smaller network")
    if len(sizes) > 20 * MAX_NODES:  # a node is one group with at most a dozen arrays
        raise InputError(f"{path}: {len(sizes)} HDF5 objects, expected at most {MAX_NODES} nodes; choose a smaller network")


def _numbers(version: str) -> tuple[int, ...]:
    """Major and minor: within a minor version nir only adds fields, and one that the package does not know is refused by name."""
    return tuple(int(part) for part in version.split(".")[:2])
