"""A Lava process that writes the spikes of a layer to a file.

Lava's own sink hands its values out one by one: minutes for the spikes of one layer over 250
recordings (measured).
"""

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class FileSink(AbstractProcess):  # type: ignore[misc]  # Lava has no types
    """Takes spikes of one shape, (W, H, C) or (N,), and writes them to `path`, in C, H, W order,
    one bit each, whole bytes a step.
    """

    def __init__(self, *, shape: tuple[int, ...], path: str) -> None:
        super().__init__(shape=shape, path=path)
        self.a_in = InPort(shape=shape)


@implements(proc=FileSink, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyFileSinkModel(PyLoihiProcessModel):  # type: ignore[misc]
    """Writes without a buffer: Lava ends its processes without closing what they hold open."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.file = open(proc_params["path"], "wb", buffering=0)  # noqa: SIM115

    def run_spk(self) -> None:
        """Write the spikes of one step."""
        bits = np.packbits(self.a_in.recv().T.reshape(-1) != 0).tobytes()
        if self.file.write(bits) != len(bits):
            raise OSError(f"{self.file.name}: the disk is full")
