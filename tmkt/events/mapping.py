"""A sensor's pixels onto the sites of a network's input: crop, integer down-sampling, padding."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.frames import InputContract

Combine = Literal["sum", "or"]


@dataclass(frozen=True)
class Mapping:
    """Pixel (x, y) goes to site ((x - left) // factor, (y - top) // factor); pixels that meet no
    site are not seen.

    `sensor` and `input` are (height, width). A site counts the events of its factor x factor
    pixels, one count a polarity, up to `most`. `left` and `top` are negative where the sensor is
    smaller than the input: it is centred, the sites around it stay empty.
    """

    sensor: tuple[int, int]
    input: tuple[int, int]
    left: int
    top: int
    factor: int
    combine: Combine
    most: int

    def sites(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """int32 [sensor height], [sensor width]: the row and the column of every pixel's site, -1
        where it has none.
        """
        return tuple(  # type: ignore[return-value]
            _sites(size, sites, begin, self.factor)
            for size, sites, begin in zip(
                self.sensor, self.input, (self.top, self.left), strict=True
            )
        )

    def describe(self) -> str:
        """The rule in one line."""
        (height, width), (rows, columns) = self.sensor, self.input
        seen = [
            f"{max(begin, 0)}-{min(begin + n * self.factor, size) - 1}"
            for begin, n, size in self._axes()
        ]
        how = (
            "1 for any number of events"
            if self.combine == "or"
            else f"events summed up to {self.most}"
        )
        cells = (
            "each pixel a site"
            if self.factor == 1
            else f"{self.factor} x {self.factor} pixels a site"
        )
        return (
            f"sensor {width} x {height}, columns {seen[1]} and rows {seen[0]} onto {columns} x"
            f" {rows} sites, {cells}, {how}"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "sensor": list(self.sensor),
            "input": list(self.input),
            "left": self.left,
            "top": self.top,
            "factor": self.factor,
            "combine": self.combine,
            "most": self.most,
        }

    def _axes(self) -> list[tuple[int, int, int]]:
        return list(zip((self.top, self.left), self.input, self.sensor, strict=True))


def _sites(size: int, sites: int, begin: int, factor: int) -> NDArray[np.int32]:
    found = (np.arange(size, dtype=np.int32) - begin) // factor
    return np.asarray(np.where((found >= 0) & (found < sites), found, -1), np.int32)


def choose_mapping(
    sensor: tuple[int, int],
    contract: InputContract,
    corner: tuple[int, int] | None = None,
    factor: int | None = None,
    combine: Combine = "sum",
) -> Mapping:
    """The mapping of a sensor of (height, width) onto a contract's input.

    `factor` None: the largest at which the input still lies within the sensor, at least 1. `corner`
    (x, y): the region's top left pixel; None: its centre is the sensor's (an odd pixel more lies at
    the right and the bottom). Both defaults are ours. "or" makes a count of any number of events 1;
    "sum" saturates at the contract's max_count. Raises InputError for a corner or factor that
    leaves nothing.
    """
    height, width = sensor
    rows, columns = contract.sensor
    if factor is None:
        factor = max(1, min(height // rows, width // columns))
    if not 1 <= factor <= max(height, width):
        raise InputError(
            f"down-sampling by {factor}, expected 1..{max(height, width)} for a sensor of {width} x"
            f" {height} pixels; change --factor"
        )
    if corner is None:
        corner = ((width - factor * columns) // 2, (height - factor * rows) // 2)
    elif not (0 <= corner[0] < width and 0 <= corner[1] < height):
        raise InputError(
            f"crop at {corner[0]},{corner[1]}, expected a pixel of the sensor, 0,0 to"
            f" {width - 1},{height - 1}; change --crop"
        )
    most = 1 if combine == "or" else contract.max_count
    return Mapping(sensor, contract.sensor, corner[0], corner[1], factor, combine, most)
