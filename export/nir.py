"""Writes network.nir."""

from pathlib import Path
from typing import TYPE_CHECKING

from tmkt.files import writing
from tmkt.nir_graph import import_nir

if TYPE_CHECKING:
    import nir


def write_nir(graph: "nir.NIRGraph", path: Path) -> None:
    """Writes a NIR graph; the same graph gives the same bytes."""
    with writing(path) as beside:
        import_nir().write(beside, graph)
