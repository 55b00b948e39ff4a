"""Placement on a chip whose cores run a layer each, as Speck's: does every layer find a core?

Sources of the rules: Sinabs 3.1.3 (SynSense), `sinabs/backend/dynapcnn` (memory of a layer,
`dynapcnn_layer.py`; matching of layers and cores, `mapping.py`) and `validate_memory_speck.py`. The
values are in the device file.
"""

from dataclasses import dataclass
from math import ceil, log2, prod
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tmkt.deploy.fit.device import DEVICES, Status
from tmkt.deploy.fit.network import Connection, Network, Population, volume
from tmkt.errors import InputError, explain
from tmkt.toml import load_toml


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    source: str = Field(min_length=1)
    status: Status


class Core(_Entry):
    """Equal cores: how many, and what each holds."""

    cores: int = Field(ge=1)
    kernel_words: int = Field(ge=1)
    neuron_words: int = Field(ge=1)
    biases: int = Field(ge=1)


class Rule(_Entry):
    """Limit of a layer: a value that it must not exceed, or values that it must be among."""

    name: str
    most: int | None = None
    among: list[int] | None = None

    @model_validator(mode="after")
    def _one(self) -> "Rule":
        if (self.most is None) == (self.among is None):
            raise ValueError("most and among: expected one of them")
        return self

    def holds(self, value: int) -> bool:
        """Tell whether a layer's value is allowed."""
        return value in self.among if self.among is not None else value <= (self.most or 0)

    @property
    def words(self) -> str:
        """The limit in words."""
        if self.among is not None:
            return f"one of {', '.join(map(str, self.among))}"
        return f"at most {self.most}"


class LayerCores(BaseModel):
    """Device file of such a chip."""

    model_config = ConfigDict(strict=True)
    title: str
    core: list[Core] = Field(min_length=1)
    layer: list[Rule]


@dataclass(frozen=True)
class Need:
    """Words that a layer takes of a core, and its values by the names of the rules."""

    kernel_words: int
    neuron_words: int
    biases: int
    values: dict[str, int]


def layer_core_devices() -> list[str]:
    """List the names of the devices whose cores run a layer each."""
    return sorted(path.stem for path in DEVICES.glob("*.toml") if "core" in load_toml(path))


def load_layer_cores(name: str) -> LayerCores:
    """Read such a device by its name. InputError for a damaged file."""
    path = Path(DEVICES) / f"{name}.toml"
    try:
        return LayerCores.model_validate(load_toml(path))
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error)}; docs/fit.md lists what it holds") from None


def need_of(network: Network, layer: Population) -> Need:
    """Compute what a layer takes of a core. A dense layer is a convolution whose kernel covers the
    map that it reads.
    """
    kernel_words, kernels = 0, []
    for connection in layer.connections:
        channels, *kernel = _kernel(network, connection)
        kernels.append(kernel)
        outputs = volume(layer.shape)[0]
        kernel_words += channels // connection.groups * 2 ** (_bits(prod(kernel)) + _bits(outputs))
    channels, height, width = volume(layer.shape)
    readers = [
        connection
        for other in network.layers
        for connection in other.connections
        if connection.source == layer.name
    ]
    strides = [side for c in layer.connections if c.kind == "conv" for side in c.stride]
    pools = [reader.pool for reader in readers]
    return Need(
        kernel_words,
        channels * 2 ** (_bits(height) + _bits(width)),
        channels,
        {
            "kernel": max((side for kernel in kernels for side in kernel), default=1),
            "channels": channels,
            "stride": max(strides, default=1),
            "pool": max(pools, default=1),
            "weight bits": max((c.weight_bits for c in layer.connections), default=1),
            "destinations": len(readers),
            "delay": max((c.delay_steps for c in layer.connections), default=0),
            "recurrent synapses": sum(c.source == layer.name for c in layer.connections),
            "kernels": len(layer.connections),
        },
    )


def _kernel(network: Network, connection: Connection) -> tuple[int, int, int]:
    channels, height, width = volume(network.shape_of(connection.source))
    if connection.kind == "conv":
        return (channels, *connection.kernel)
    return (channels, height // connection.pool, width // connection.pool)


def _bits(number: int) -> int:
    return ceil(log2(number))


def fit_layers(name: str, network: Network) -> dict[str, Any]:
    """Find a core for each layer; returns the report as a dictionary for JSON.

    A layer's `over` names the rules that it breaks and what memory no core has; layers that would
    each fit but not together are named by `without_core`.
    """
    device = load_layer_cores(name)
    cores = [core for core in device.core for _ in range(core.cores)]
    needs = {layer.name: need_of(network, layer) for layer in network.layers}
    over = {layer: _over(device, cores, need) for layer, need in needs.items()}
    chosen = _matched(cores, {layer: needs[layer] for layer in needs if not over[layer]})
    return {
        "device": name,
        "title": device.title,
        "fits": len(chosen) == len(needs),
        "cores": len(needs) if len(chosen) == len(needs) else None,
        "cores_per_chip": len(cores),
        "layers": [
            {
                "name": layer.name,
                "shape": list(layer.shape),
                "neurons": layer.neurons,
                "core": chosen.get(layer.name),
                "kernel_words": needs[layer.name].kernel_words,
                "neuron_words": needs[layer.name].neuron_words,
                "biases": needs[layer.name].biases,
                "over": over[layer.name],
            }
            for layer in network.layers
        ],
        "without_core": [layer for layer in needs if layer not in chosen and not over[layer]],
        "limits": [entry.model_dump(exclude_none=True) for entry in (*device.core, *device.layer)],
    }


def _over(device: LayerCores, cores: list[Core], need: Need) -> list[str]:
    found = [
        f"{rule.name} {need.values[rule.name]}, expected {rule.words}"
        for rule in device.layer
        if rule.name in need.values and not rule.holds(need.values[rule.name])
    ]
    if not any(_holds(core, need) for core in cores):
        memory = f"{need.kernel_words} words of kernels and {need.neuron_words} of neurons"
        found.append(f"{memory}, expected a core with so many")
    return found


def _holds(core: Core, need: Need) -> bool:
    return (
        need.kernel_words <= core.kernel_words
        and need.neuron_words <= core.neuron_words
        and need.biases <= core.biases
    )


def _matched(cores: list[Core], needs: dict[str, Need]) -> dict[str, int]:
    """Give as many layers as possible a core of their own (augmenting paths)."""
    owner: dict[int, str] = {}

    def take(layer: str, tried: set[int]) -> bool:
        for number, core in enumerate(cores):
            if number in tried or not _holds(core, needs[layer]):
                continue
            tried.add(number)
            if number not in owner or take(owner[number], tried):
                owner[number] = layer
                return True
        return False

    for layer in needs:
        take(layer, set())
    return {layer: number for number, layer in owner.items()}
