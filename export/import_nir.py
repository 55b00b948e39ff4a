"""Import of .nir files, of any writer: to this project's form, and to a bundle."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.errors import InputError
from tmkt.events.channels import ChannelContract, Contract
from tmkt.events.frames import InputContract
from tmkt.export.export import QuantisedNetwork, refuse_silent, write_bundle
from tmkt.export.normalise import normalise
from tmkt.nir.conventions import Conventions
from tmkt.nir.file import read_nir
from tmkt.nir.order import order

if TYPE_CHECKING:
    import nir


class Reading(NamedTuple):
    """The reading of one node, and what was changed in it."""

    node: str
    read_as: str
    changed: str


@dataclass(frozen=True)
class Imported:
    """Network of a .nir file in this project's form. `notes`: how the whole graph was read.
    `channels`: it reads channels of spikes, not events of a camera.
    """

    path: Path
    graph: "nir.NIRGraph"
    input_shape: tuple[int, ...]
    classes: int
    conventions: Conventions
    notes: tuple[str, ...]
    readings: tuple[Reading, ...]
    channels: bool = False

    def contract(self, bins: int, bin_us: int, max_count: int) -> Contract:
        """Say how recordings become the network's time steps."""
        if self.channels:
            return ChannelContract(self.input_shape, bins, bin_us, max_count)
        _, height, width = self.input_shape
        return InputContract((height, width), bins, bin_us, max_count)


@dataclass(frozen=True)
class Calibration:
    """Frames uint8 [N, T, *input shape] to quantise on, and the instances that they show."""

    frames: NDArray[np.uint8]
    instances: list[str]


def import_nir_file(
    path: Path,
    conventions: Conventions,
    sensor: tuple[int, int] | None = None,
    channels: bool = False,
) -> Imported:
    """Read a .nir file by the conventions that are asked for, or that the file tells.

    `channels`: the network reads channels of spikes, in any shape; else events of a camera, and
    `sensor` (height, width) is for a flat input. InputError for a file that cannot be read, or only
    by guessing, above all at its time step.
    """
    ordered = order(read_nir(path), conventions, strict=True)
    graph, changes = normalise(ordered, sensor, channels)
    readings = tuple(
        Reading(node.name, node.note, "; ".join(changes.get(node.name, [])))
        for node in ordered.nodes
    )
    shape = tuple(int(n) for n in graph.nodes["input"].input_type["input"])
    classes = int(np.prod(ordered.nodes[-1].shape))
    return Imported(
        path,
        graph,
        input_shape=shape,
        channels=channels,
        classes=classes,
        conventions=conventions,
        notes=ordered.notes,
        readings=readings,
    )


def export_nir(
    network: Imported,
    out: Path,
    targets: Collection[str],
    bits: int | str | None,
    contract: Contract,
    dataset: str,
    classes: list[str],
    calibration: Calibration | None,
    allow_silent: bool = False,
) -> Bundle:
    """Write a bundle of a network from elsewhere, with the names of a data set's classes.

    `bits` None takes the network's integers as they are. Otherwise it is quantised on
    `calibration`. The manifest lists the instances of that as those that the network has seen, so
    that they are not tested. InputError for what a chip cannot hold, and for a network that is dead
    from its first layer on unless `allow_silent`.
    """
    from tmkt.export.quantise.given_integers import take_integers
    from tmkt.export.quantise.quantise import quantise

    if len(classes) != network.classes:
        found = (
            f"the read-out has {network.classes} values, the data set {dataset!r} {len(classes)}"
            " classes"
        )
        raise InputError(
            f"{network.path}: {found}, expected one a class; give the --dataset that it was"
            " trained on"
        )
    if bits is None:
        program, report = take_integers(network.graph, contract.max_count)
    elif calibration is None:
        raise InputError(
            f"{network.path}: no recordings to calibrate on, expected some of what it was trained"
            " on; add --data DIR, or --bits none"
        )
    else:
        program, report = quantise(
            network.graph, contract.shape, contract.max_count, calibration.frames, bits
        )
    origin: dict[str, Any] = {
        "dataset": dataset,
        "nir_sha256": bundles.sha256(network.path),
        "conventions": {
            name: value for name, value in asdict(network.conventions).items() if value is not None
        },
        "read_as": [
            *network.notes,
            *(": ".join(filter(None, reading)) for reading in network.readings),
        ],
        "trained_on": [] if calibration is None else calibration.instances,
        "images_trained_on": {},
    }
    quantised = QuantisedNetwork(
        network.graph, program, contract=contract, classes=classes, origin=origin, report=report
    )
    if not allow_silent:
        refuse_silent(quantised, network.path)
    return write_bundle(out, targets, quantised)
