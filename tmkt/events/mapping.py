"""Mapping of a live camera's pixels to a network's input: crop, integer down-sampling, padding."""

from dataclasses import dataclass
from typing import Any, Literal

from tmkt.errors import InputError
from tmkt.events.channels import ChannelContract
from tmkt.events.frames import InputContract
from tmkt.events.sites import Sites, centred, choose_factor, site_table

Combine = Literal["sum", "or"]
MOST_CHANNELS = 2**16 - 1  # x is a uint16, and its largest value is outside of any sensor


@dataclass(frozen=True)
class Mapping:
    """Mapping of pixel (x, y) to site ((x - left) // factor, (y - top) // factor).

    `sensor` and `input` are (height, width). A site counts the events of its factor x factor
    pixels, each polarity on its own, up to `most`. Pixels without a site are not seen. `left` and
    `top` are negative where the sensor is smaller than the input: it is centred, and the sites
    around it stay empty. `channels`: of spikes, not pixels; both sizes are (1, N), and there are no
    polarities.
    """

    sensor: tuple[int, int]
    input: tuple[int, int]
    left: int
    top: int
    factor: int
    combine: Combine
    most: int
    channels: bool = False

    def sites(self) -> Sites:
        """Return the site of every pixel."""
        rows, columns = (
            site_table(pixels, begin, self.factor * sites, sites)
            for begin, sites, pixels in self._axes()
        )
        same = self.sensor == self.input and (self.left, self.top, self.factor) == (0, 0, 1)
        return Sites(rows, columns, one_to_one=same)

    def describe(self) -> str:
        """Return the rule in one line."""
        if self.channels:
            return f"{self.input[1]} channels, {self._describe_counts('spikes')}"
        (height, width), (rows, columns) = self.sensor, self.input
        seen = [
            f"{max(begin, 0)}-{min(begin + n * self.factor, size) - 1}"
            for begin, n, size in self._axes()
        ]
        cells = (
            "each pixel a site"
            if self.factor == 1
            else f"{self.factor} x {self.factor} pixels a site"
        )
        return (
            f"sensor {width} x {height}, columns {seen[1]} and rows {seen[0]} onto {columns} x"
            f" {rows} sites, {cells}, {self._describe_counts('events')}"
        )

    def _describe_counts(self, what: str) -> str:
        if self.combine == "or":
            return f"1 for any number of {what}"
        return f"{what} summed up to {self.most}"

    def to_json(self) -> dict[str, Any]:
        """Return the rule as it is printed in JSON."""
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


def channel_mapping(contract: ChannelContract, combine: Combine = "sum") -> Mapping:
    """Map each channel to itself. Channels stand in x, as the only row of a sensor; InputError for
    more than x can tell apart.
    """
    if contract.channels > MOST_CHANNELS:
        raise InputError(
            f"stream: {contract.channels} channels, expected at most {MOST_CHANNELS}; evaluate"
            " recordings instead"
        )
    row = (1, contract.channels)
    most = 1 if combine == "or" else contract.max_count
    return Mapping(row, row, 0, 0, 1, combine, most, channels=True)


def choose_mapping(
    sensor: tuple[int, int],
    contract: InputContract,
    corner: tuple[int, int] | None = None,
    factor: int | None = None,
    combine: Combine = "sum",
) -> Mapping:
    """Choose the mapping of a sensor (height, width) to a contract's input.

    `factor` None: the largest at which the input still lies within the sensor, at least 1. `corner`
    (x, y) is the region's top left pixel; None: the region's centre is the sensor's (an odd pixel
    more lies at the right and the bottom). Both defaults are ours. Combine "or" makes a count of
    any number of events 1; "sum" saturates at the contract's max_count. Raises InputError for a
    corner or factor that leaves nothing.
    """
    height, width = sensor
    rows, columns = contract.sensor
    if factor is None:
        factor = choose_factor(sensor, contract.sensor)
    if not 1 <= factor <= max(height, width):
        raise InputError(
            f"down-sampling by {factor}, expected 1..{max(height, width)} for a sensor of {width} x"
            f" {height} pixels; change --factor"
        )
    if corner is None:
        corner = (centred(width, columns, factor), centred(height, rows, factor))
    elif not (0 <= corner[0] < width and 0 <= corner[1] < height):
        raise InputError(
            f"crop at {corner[0]},{corner[1]}, expected a pixel of the sensor, 0,0 to"
            f" {width - 1},{height - 1}; change --crop"
        )
    most = 1 if combine == "or" else contract.max_count
    return Mapping(
        sensor,
        contract.sensor,
        left=corner[0],
        top=corner[1],
        factor=factor,
        combine=combine,
        most=most,
    )
