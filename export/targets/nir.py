"""The target nir: network.nir and integers.nir."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tmkt.files import writing
from tmkt.nir.file import import_nir

if TYPE_CHECKING:
    import nir


class _WithoutZeroResets:
    """A graph as nir.write takes it, without `v_reset` where all of it is 0, which readers take for
    granted: nir up to 1.0.4, which Sinabs pins, refuses the field.
    """

    def __init__(self, graph: "nir.NIRGraph") -> None:
        self._graph = graph

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are written."""
        fields: dict[str, Any] = self._graph.to_dict()
        for node in fields["nodes"].values():
            if "v_reset" in node and not np.any(node["v_reset"]):
                del node["v_reset"]
        return fields


def write_nir(graph: "nir.NIRGraph", path: Path) -> None:
    """Write a NIR graph; the same graph gives the same bytes."""
    content = BytesIO()  # h5py may end the process where the disk is full
    import_nir().write(content, _WithoutZeroResets(graph))
    with writing(path) as beside:
        beside.write_bytes(content.getvalue())
