"""The target nir: network.nir and integers.nir."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from tmkt.files import writing
from tmkt.nir.file import import_nir

if TYPE_CHECKING:
    import nir


def write_nir(graph: "nir.NIRGraph", path: Path) -> None:
    """Write a NIR graph; the same graph gives the same bytes."""
    content = BytesIO()  # h5py may end the process where the disk is full
    import_nir().write(content, graph)
    with writing(path) as beside:
        beside.write_bytes(content.getvalue())
