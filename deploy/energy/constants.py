"""Constants of the estimators from the device files, each with its source and its status."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tmkt.toml import load_toml

DEVICES = Path(__file__).parents[1] / "devices"
SI = {"pJ": 1e-12, "uJ": 1e-6, "mW": 1e-3, "1": 1.0}  # joules, watts, numbers


@dataclass(frozen=True)
class Constant:
    """Value in the unit of its file; `si` gives joules, watts or a plain number."""

    name: str
    value: float
    unit: str
    source: str
    status: str

    @property
    def si(self) -> float:
        return self.value * SI[self.unit]


@dataclass(frozen=True)
class Constants:
    """Constants of one estimator in one device file."""

    device: str
    estimator: str
    values: dict[str, Constant]

    def __getitem__(self, name: str) -> float:
        """Return joules, watts or a plain number."""
        return self.values[name].si

    @property
    def source(self) -> str:
        """List every constant with its source and status, in one line."""
        return "; ".join(
            f"{c.name} {c.value:g}{'' if c.unit == '1' else ' ' + c.unit}: {c.source} ({c.status})"
            for c in self.values.values()
        )


@cache
def _read(device: str) -> tuple[dict[str, dict[str, Constant]], str]:
    file = load_toml(DEVICES / f"{device}.toml")
    found: dict[str, dict[str, Constant]] = {}
    for entry in file.get("constant", []):
        constant = Constant(
            entry["name"], float(entry["value"]), entry["unit"], entry["source"], entry["status"]
        )
        found.setdefault(entry["estimator"], {})[constant.name] = constant
    return found, file["title"]


def devices() -> list[str]:
    """List the devices that have constants of an estimator."""
    return sorted(path.stem for path in DEVICES.glob("*.toml") if _read(path.stem)[0])


def estimators(device: str) -> list[str]:
    """List the estimators that have constants in a device's file, in its order."""
    return list(_read(device)[0])


def load_constants(device: str, estimator: str) -> Constants:
    """Load the `[[constant]]` entries for `estimator` from `deploy/devices/<device>.toml`; KeyError
    if it has none.
    """
    return Constants(device, estimator, _read(device)[0][estimator])
