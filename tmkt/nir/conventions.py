"""Conventions that NIR leaves to its writers: time step, > or >= at the threshold, reset, and how
inputs count. They are taken from options, the file's metadata, or the file's numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from tmkt.errors import InputError, Unsaid
from tmkt.nir.errors import kind
from tmkt.nir.file import import_nir
from tmkt.nir.graph import DEFAULT_DT

RULES = {
    "fires_at": (">", ">="),
    "reset": ("hard", "soft"),
    "inputs": ("per-second", "per-step"),
    "decay": ("euler", "exponential"),
}
METADATA = {
    "fires_at": "threshold_rule",
    "reset": "reset",
    "inputs": "inputs",
    "decay": "discretisation",
}  # names of the conventions in the metadata of our own files
TIME_CONSTANTS = ("tau", "tau_mem", "tau_syn")
BY_DEFINITION = "as NIR defines it"


@dataclass(frozen=True)
class Conventions:
    """Conventions to read a graph by. None: as the file's metadata says, else as its numbers tell,
    else as NIR defines it.

    - `dt`: time step in seconds.
    - `fires_at`: ">" (NIR's) or ">=" (SpikingJelly's).
    - `reset`: "hard" (NIR's) or "soft", which is refused.
    - `inputs`: "per-second" (NIR's): an IF adds r * dt * x to its membrane, a CubaLIF
      dt / tau_syn * w_in * x to its current; "per-step" (Norse's): r * x and w_in * x.
    - `decay`: "euler", dt / tau a step (SpikingJelly, snnTorch, Norse), or "exponential",
      1 - exp(-dt / tau) (Sinabs).
    """

    dt: float | None = None
    fires_at: str | None = None
    reset: str | None = None
    inputs: str | None = None
    decay: str | None = None


@dataclass(frozen=True)
class Settled:
    """Conventions of a graph. `notes`: where each came from, in words."""

    dt: float
    fires_at: Literal[">", ">="]
    inputs: Literal["per-second", "per-step"]
    decay: Literal["euler", "exponential"]
    notes: tuple[str, ...]


def settle(
    nodes: Mapping[str, Any], metadata: Mapping[str, Any], asked: Conventions, strict: bool
) -> Settled:
    """Settle the conventions of a graph's nodes: options come before metadata, metadata before what
    the numbers tell.

    `strict`: InputError asking for an option where something that decides spikes can only be
    guessed. Soft reset is always refused.
    """
    chosen, notes = {}, []
    for field in fields(Conventions):
        if field.name == "dt":
            continue
        name, known = field.name, RULES[field.name]
        value, origin = getattr(asked, name), "as asked"
        if value is None:
            value, origin = metadata.get(METADATA[name]), "said by the file"
        if value is None:
            value, origin = known[0], BY_DEFINITION
        if value not in known:
            raise InputError(
                f"NIR graph: {METADATA[name]} {value!r}, expected one of {', '.join(known)}; give"
                " another"
            )
        chosen[name] = value
        if name == "inputs" and not any(
            type(node).__name__ in ("IF", "I", "CubaLIF", "CubaLI") for node in nodes.values()
        ):
            continue
        if (value, origin) == ("hard", BY_DEFINITION):
            origin += "; Sinabs, Rockpool and Spyx train with soft reset, which no file can say"
        notes.append(f"{_WORDS[value]} ({origin})")
    if chosen["reset"] == "soft":
        way_out = "train it with hard reset, or say --reset hard to see what that costs"
        raise InputError(
            "NIR graph: soft reset (v - threshold after a spike), expected hard reset, all that"
            f" the chip has; {way_out}"
        )
    dt, origin = _time_step(nodes, metadata, asked, strict)
    if strict and asked.inputs is None and "inputs" not in metadata and dt != 1:
        _refuse_unit_resistance(nodes, dt)
    return Settled(
        dt,
        chosen["fires_at"],
        chosen["inputs"],
        chosen["decay"],
        (f"time step {dt:g} s ({origin})", *notes),
    )


_WORDS = {
    ">": "a spike where v > threshold",
    ">=": "a spike where v >= threshold",
    "hard": "hard reset",
    "soft": "soft reset",
    "per-second": "inputs of IF and CubaLIF count by the time step",
    "per-step": "inputs of IF and CubaLIF count whole",
    "euler": "decay dt / tau",
    "exponential": "decay 1 - exp(-dt / tau)",
}


def _time_step(
    nodes: Mapping[str, Any], metadata: Mapping[str, Any], asked: Conventions, strict: bool
) -> tuple[float, str]:
    value, origin = asked.dt, "as asked"
    if value is None:
        value, origin = metadata.get("dt"), "said by the file"
    if value is None:
        value, origin = _from_gains(nodes), "told by r = tau / dt"
    if value is None:
        value, origin = DEFAULT_DT, "assumed"
        timed = next((name for name, node in nodes.items() if _is_timed(node)), None)
        if strict and timed is not None:
            usual, why = _usual_time_step(nodes)
            raise Unsaid(
                f"NIR graph, node {timed!r}: {kind(nodes[timed])} whose time step nothing tells,"
                f" expected --dt in seconds; {why}: try --dt {usual}",
                "--dt",
                usual,
            )
    try:
        dt = float(value)
    except (TypeError, ValueError):
        dt = np.nan
    if not 0 < dt < np.inf:
        raise InputError(
            f"NIR graph: time step {value!r}, expected a positive number of seconds; give the right"
            " --dt"
        )
    return dt, origin


def _usual_time_step(nodes: Mapping[str, Any]) -> tuple[str, str]:
    """Say which time step to try, and why.

    Time constants of a second and more are counted in steps. An IF with r = 1 comes from a
    framework without a time step: those that have one write r = 1 / dt.
    """
    nir = import_nir()
    given = [getattr(node, name, ()) for node in nodes.values() for name in TIME_CONSTANTS]
    constants = [array for array in map(np.asarray, given) if array.size]
    gains = [np.asarray(node.r) for node in nodes.values() if isinstance(node, nir.IF)]
    if constants:
        in_steps = all(array.dtype.kind in "iuf" and np.all(array >= 1) for array in constants)
    else:
        in_steps = any(np.all(gain == 1) for gain in gains)
    if in_steps:
        return "1", "Sinabs and Spyx count time constants in steps"
    return (
        "1e-4",
        "SpikingJelly and snnTorch write 1e-4 unless told otherwise, Norse what to_nir was given",
    )


def _is_timed(node: Any) -> bool:
    nir = import_nir()
    return isinstance(
        node, nir.LIF | nir.IF | nir.CubaLIF | nir.LI | nir.CubaLI | nir.I | nir.Delay
    )


def _from_gains(nodes: Mapping[str, Any]) -> float | None:
    """Derive dt from gains; None where they do not agree.

    snnTorch writes r = tau / dt, SpikingJelly r = 1 / dt for an IF and tau / dt for its current.
    The same dt everywhere cannot be a coincidence.
    """
    nir = import_nir()
    told: list[float] = []
    for node in nodes.values():
        pairs: list[tuple[Any, Any]] = []
        if isinstance(node, nir.LIF):
            pairs = [(node.tau, node.r)]
        elif isinstance(node, nir.IF):
            pairs = [(1.0, node.r)]
        elif isinstance(node, nir.CubaLIF | nir.CubaLI):
            pairs = [(node.tau_mem, node.r), (node.tau_syn, node.w_in)]
        for tau, r in pairs:
            r_all = np.asarray(r, np.float64).reshape(-1)
            with np.errstate(all="ignore"):
                ratio = (np.asarray(tau, np.float64) / np.asarray(r, np.float64)).reshape(-1)
            # r = 1 is an absence of gain and tells nothing
            if ratio.size and r_all.size and not np.all(r_all == 1):
                told += [float(ratio.min()), float(ratio.max())]
    if not told or not 0 < told[0] < np.inf or not np.allclose(told, told[0], rtol=1e-3):
        return None
    power = float(np.rint(np.log10(told[0])))
    if not np.isclose(told[0], 10**power, rtol=1e-3):
        return None  # may be gains that mean something else
    return float(f"1e{power:.0f}")


def _refuse_unit_resistance(nodes: Mapping[str, Any], dt: float) -> None:
    """Refuse an IF with r = 1, whose inputs may count whole or by the time step."""
    nir = import_nir()
    for name, node in nodes.items():
        if isinstance(node, nir.IF) and np.all(np.asarray(node.r) == 1):
            found = f"r = 1, so that an input counts {dt:g} of itself"
            raise Unsaid(
                f"NIR graph, node {name!r}: IF with {found}, expected --inputs to say so; --inputs"
                " per-step if it counts whole (Norse), or --dt 1 (Sinabs)",
                "--inputs",
                "per-step",
            )
