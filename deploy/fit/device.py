"""Limits, rules and times of a chip, read from a device file, each with its source and status."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tmkt.errors import InputError, explain, nearest
from tmkt.toml import load_toml

DEVICES = Path(__file__).parents[1] / "devices"
MAX_FILE_BYTES = 2**20
Status = Literal[
    "measured", "published", "derived", "assumed"
]  # derived: computed or inferred from published figures
Sharing = Literal["kernel", "patterns", "none"]
Interval = tuple[float, float]
OPERATIONS = ("neuron", "fired", "message_out", "message_in", "synop_conv", "synop_dense")


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    source: str = Field(min_length=1)
    status: Status


class _Limit(_Entry):
    name: str
    value: int = Field(ge=0, le=2**40)


class _Sharing(_Entry):
    name: Literal["sharing"]
    value: list[Sharing] = Field(min_length=1)


class _Tiling(_Entry):
    name: Literal["tiling"]
    value: Literal["halving", "any"]


class _InputOnCores(_Entry):
    name: Literal["input_on_cores"]
    value: bool


class _BarrierOverlaps(_Entry):
    name: Literal["barrier_overlaps"]
    value: bool


class _Interval(_Entry):
    low_ns: float = Field(ge=0)
    high_ns: float = Field(ge=0)


class _Time(_Interval):
    operation: Literal["neuron", "fired", "message_out", "message_in", "synop_conv", "synop_dense"]


class _Barrier(_Interval):
    from_tiles: int = Field(ge=1)


class _ModelError(_Entry):
    low_factor: float = Field(gt=0, le=1)
    high_factor: float = Field(ge=1)


class _File(BaseModel):
    """Entries of a device file that placement needs. Energy constants are in other tables, which
    are not read here.
    """

    model_config = ConfigDict(strict=True)
    title: str
    limit: list[_Limit]
    rule: list[_Sharing | _Tiling | _InputOnCores | _BarrierOverlaps]
    time: list[_Time]
    barrier: list[_Barrier] = Field(min_length=1)
    model_error: list[_ModelError] = Field(default=[], max_length=1)


@dataclass(frozen=True)
class Limits:
    """Limits of a core and a chip. Memory is in words of 64 bits.

    `axons_out` None: not limited. `list_block` None: a list of weights is stored in one piece, else
    in blocks of so many weights. `dense_index_bits`: bits that a dense weight takes beside itself.
    `cores`: usable ones of a chip; `chips`: of the largest system.
    """

    neurons: int
    axons_in: int
    synapse_words: int
    weight_bits: int
    delay_steps: int
    dense_index_bits: int
    cores: int
    chips: int
    cores_per_tile: int
    mesh_rows: int
    axons_out: int | None = None
    list_block: int | None = None


@dataclass(frozen=True)
class Device:
    """Chip model; docs/fit.md says what each rule means.

    `sharing`: how a convolution's weights are stored; the first is what the chip can do at best,
    the last what it needs at worst. `times_ns`: of each of OPERATIONS, low and high. `barriers`:
    (from so many tiles on, low, high in ns). `model_error`: factors on the low and the high end of
    a step's time. `sources`: everything above, as rows (what, value, status, source).
    """

    name: str
    title: str
    limits: Limits
    sharing: tuple[Sharing, ...]
    tiling: Literal["halving", "any"]
    input_on_cores: bool
    barrier_overlaps: bool
    times_ns: dict[str, Interval]
    barriers: tuple[tuple[int, float, float], ...]
    model_error: Interval
    sources: tuple[tuple[str, str, str, str], ...]


def devices() -> list[str]:
    """List the names of the devices that a network can be placed on."""
    return sorted(path.stem for path in DEVICES.glob("*.toml") if "limit" in load_toml(path))


def load_device(name: str) -> Device:
    """Read a device by name, or a file of one's own if `name` ends in .toml.

    InputError for an unknown name (with the nearest) and for a file that lacks a limit or has a
    value out of range.
    """
    own = name.endswith(".toml")
    if not own and name not in devices():
        raise InputError(
            f"device {name!r}: unknown, known are {', '.join(devices())}, or a path to a .toml"
            f" file{nearest(name, devices())}"
        )
    path = Path(name) if own else DEVICES / f"{name}.toml"
    if not path.is_file():
        raise InputError(
            f"{path}: no such file, expected a device file; copy one of deploy/devices and"
            " change it"
        )
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(
            f"{path}: {path.stat().st_size} bytes, expected a device file of at most"
            f" {MAX_FILE_BYTES}; check --device"
        )
    try:
        return _device(path.stem, _File.model_validate(load_toml(path)))
    except ValidationError as error:
        raise InputError(
            f"{path}: {explain(error)}; docs/fit.md lists what a device file holds"
        ) from None
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(
            f"{path}: not a readable device file ({str(error)[:100]}); mend it"
        ) from None


def _device(name: str, file: _File) -> Device:
    values = _unique(
        "limit", [entry.name for entry in file.limit], [entry.value for entry in file.limit]
    )
    rules = _unique(
        "rule", [entry.name for entry in file.rule], [entry.value for entry in file.rule]
    )
    times = _unique(
        "time", [t.operation for t in file.time], [(t.low_ns, t.high_ns) for t in file.time]
    )
    needed = {"sharing", "tiling", "input_on_cores", "barrier_overlaps"}
    for what, missing in (
        ("rule", needed - rules.keys()),
        ("time", set(OPERATIONS) - times.keys()),
    ):
        if missing:
            raise ValueError(f"has no {what} {min(missing)!r}")
    fields = Limits.__dataclass_fields__
    optional = {"axons_out", "list_block"}
    unknown = sorted(values.keys() - fields.keys())
    missing_limits = sorted(fields.keys() - optional - values.keys())
    if unknown:
        raise ValueError(f"limit {unknown[0]!r} is unknown{nearest(unknown[0], list(fields))}")
    if missing_limits:
        raise ValueError(f"has no limit {missing_limits[0]!r}")
    zero = [
        key
        for key in sorted(values)
        if key not in ("delay_steps", "dense_index_bits") and values[key] < 1
    ]
    if zero:
        raise ValueError(f"limit {zero[0]!r} is 0, expected 1 or more")
    intervals: list[_Interval] = [*file.time, *file.barrier]
    wrong = [entry for entry in intervals if entry.low_ns > entry.high_ns]
    if wrong:
        raise ValueError(
            f"a time from {wrong[0].low_ns} to {wrong[0].high_ns} ns, expected the lower one first"
        )
    barriers = tuple(sorted((b.from_tiles, b.low_ns, b.high_ns) for b in file.barrier))
    if barriers[0][0] != 1:
        raise ValueError(f"the first barrier holds from {barriers[0][0]} tiles on, expected 1")
    error = (
        (file.model_error[0].low_factor, file.model_error[0].high_factor)
        if file.model_error
        else (1.0, 1.0)
    )
    return Device(
        name,
        file.title,
        limits=Limits(**values),
        sharing=tuple(rules["sharing"]),
        tiling=rules["tiling"],
        input_on_cores=rules["input_on_cores"],
        barrier_overlaps=rules["barrier_overlaps"],
        times_ns=times,
        barriers=barriers,
        model_error=error,
        sources=tuple(_sources(file)),
    )


def _unique(kind: str, names: list[str], values: list[Any]) -> dict[str, Any]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"has {kind} {twice[0]!r} twice")
    return dict(zip(names, values, strict=True))


def _sources(file: _File) -> list[tuple[str, str, str, str]]:
    rows: list[tuple[str, str, str, str]] = [
        (entry.name, str(entry.value), entry.status, entry.source)
        for entry in (*file.limit, *file.rule)
    ]
    rows += [
        (f"time of {t.operation}", f"{t.low_ns:g} to {t.high_ns:g} ns", t.status, t.source)
        for t in file.time
    ]
    rows += [
        (
            f"barrier from {b.from_tiles} tiles on",
            f"{b.low_ns:g} to {b.high_ns:g} ns",
            b.status,
            b.source,
        )
        for b in file.barrier
    ]
    return rows + [
        (
            "error of the time model",
            f"{e.low_factor:g} to {e.high_factor:g} times",
            e.status,
            e.source,
        )
        for e in file.model_error
    ]
