"""Recorded spikes and membranes of a network's layers."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.program.model import INPUT

SPIKES, MEMBRANE = "spikes", "v"
# names that others give to the two
ALIASES = {
    SPIKES: (SPIKES, "spike", "s", "z"),
    MEMBRANE: (MEMBRANE, "v_mem", "voltage", "voltages", "membrane", "u_mem"),
}


@dataclass(frozen=True)
class Recorded:
    """Recorded layers by name, each [N, T, neurons], neurons in C, H, W order; T may differ from
    layer to layer.

    `spikes`: uint8, counts at the input ("input"), else 0 and 1. `membranes`: after each step, in
    the program's integers (1/64 of a weight).
    """

    spikes: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    membranes: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    @property
    def input(self) -> NDArray[np.uint8] | None:
        """Input of the network, [N, T, sites]; None if that was not recorded."""
        return self.spikes.get(INPUT)

    @property
    def arrays(self) -> list[tuple[str, str, NDArray[Any]]]:
        """All arrays: layer, observable, values."""
        return [
            *((name, SPIKES, values) for name, values in self.spikes.items()),
            *((name, MEMBRANE, values) for name, values in self.membranes.items()),
        ]
