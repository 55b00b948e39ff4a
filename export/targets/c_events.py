"""The C that turns a camera's events into decisions: the contract of the input, binning, windows,
and the rule of `tmkt stream`, in integers.
"""

from dataclasses import dataclass

from tmkt.events.frames import InputContract
from tmkt.export.targets import c_event_templates as templates
from tmkt.export.targets.c_layers import layers_of
from tmkt.program.model import Program
from tmkt.program.readout import margin_unit, readout_adds_up


@dataclass(frozen=True)
class Camera:
    """Contract of a bundle's input, its bins and sensor, and the names of its classes.

    `nothing`: the class of noise, for which nothing is decided.
    """

    contract: InputContract
    classes: list[str]
    nothing: int | None = None


def events_header(program: Program, camera: Camera) -> str:
    """Give the part of network.h about events."""
    return templates.HEADER.substitute(
        bins=camera.contract.bins,
        bin_us=camera.contract.bin_us,
        unit=margin_unit(program),
        carry="" if readout_adds_up(program) else templates.NO_CARRY,
    )


def events_source(program: Program, camera: Camera) -> str:
    """Give the part of network.c about events."""
    names = ", ".join(_text(name) for name in camera.classes)
    name = layers_of(program)[-1].name
    arrays = [f"{name}.low", f"{name}.high"]
    if program.readout == "spikes":
        arrays.append("counts")
    clear = "".join(f"        network->{array}[i] = 0;\n" for array in arrays)
    nothing = "" if camera.nothing is None else f"best == {camera.nothing} || "
    return templates.SOURCE.substitute(
        names=names, clear=clear, neurons=program.classes, nothing=nothing
    )


def _text(name: str) -> str:
    """Write a class name as a C string: ASCII as it is, other bytes in octal."""
    plain = set(range(32, 127)) - {ord('"'), ord("\\"), ord("?")}
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in name.encode()) + '"'
