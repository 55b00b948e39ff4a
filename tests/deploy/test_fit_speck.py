"""Placement on Speck: a layer a core, by the limits that its maker publishes."""

from typing import Any

import pytest

from tmkt.deploy.fit.layer_cores import fit_layers, load_layer_cores, need_of
from tmkt.deploy.fit.network import Connection, Network, Population


def conv(source: str, **fields: Any) -> Connection:
    return Connection(source, "conv", **{"kernel": (3, 3), "padding": (1, 1), **fields})


def network(*layers: Population, shape: tuple[int, ...] = (2, 64, 64)) -> Network:
    return Network(shape, layers)


def over(found: dict[str, Any], name: str) -> str:
    return "; ".join(next(x for x in found["layers"] if x["name"] == name)["over"])


def test_the_memory_of_a_layer_is_that_of_sinabs() -> None:
    """By hand from sinabs/backend/dynapcnn/dynapcnn_layer.py, memory_summary: kernels C_in 2^(ceil
    log2 kx ky + ceil log2 f), neurons f 2^(ceil log2 fy + ceil log2 fx).
    """
    first = Population("a", (12, 60, 33), (conv("input", kernel=(5, 3)),))
    dense = Population("b", (10,), (Connection("a", "dense", pool=4),))
    made = network(first, dense)
    found = need_of(made, first)
    assert (found.kernel_words, found.neuron_words, found.biases) == (2 * 2**8, 12 * 2**12, 12)
    # the map of 15 x 8 behind the pool is one kernel
    found = need_of(made, dense)
    assert (found.kernel_words, found.neuron_words) == (12 * 2 ** (7 + 4), 10)
    assert need_of(made, first).values["pool"] == 4


def test_layers_are_matched_with_the_cores_that_hold_them() -> None:
    """Two layers of 64 Ki words of kernels take the only two such cores, whatever the order."""
    small = [
        Population(f"small{i}", (8, 8, 8), (conv("input" if i == 0 else f"small{i - 1}"),))
        for i in range(7)
    ]
    large = [
        Population("large0", (64, 8, 8), (conv("small6", kernel=(16, 8)),)),
        Population("large1", (8, 8, 8), (conv("large0", kernel=(8, 16)),)),
    ]
    found = fit_layers("speck2f", network(*small, *large))
    assert found["fits"]
    cores = {layer["name"]: layer["core"] for layer in found["layers"]}
    assert {cores["large0"], cores["large1"]} == {5, 6}
    assert len(set(cores.values())) == 9
    last = Population("one more", (8, 8, 8), (conv("large1"),))
    more = fit_layers("speck2f", network(*small, *large, last))
    assert not more["fits"]
    assert more["without_core"] == ["one more"]


@pytest.mark.parametrize(
    ("connections", "shape", "said"),
    [
        ((conv("input", kernel=(17, 3)),), (8, 8, 8), "kernel 17, expected at most 16"),
        ((conv("input", stride=(3, 3)),), (8, 8, 8), "stride 3, expected one of 1, 2, 4, 8"),
        ((conv("input"),), (1025, 2, 2), "channels 1025, expected at most 1024"),
        ((conv("input", weight_bits=9),), (8, 8, 8), "weight bits 9, expected at most 8"),
        ((conv("input"), conv("input")), (8, 8, 8), "kernels 2, expected at most 1"),
        ((Connection("input", "dense", delay_steps=3),), (9,), "delay 3, expected at most 0"),
        ((conv("input"), Connection("a", "dense")), (8, 8, 8), "recurrent synapses 1"),
        ((conv("input"),), (32, 64, 64), "131072 of neurons, expected a core with so many"),
    ],
)
def test_what_a_core_cannot_run_is_named(
    connections: tuple[Connection, ...], shape: tuple[int, ...], said: str
) -> None:
    found = fit_layers("speck2f", network(Population("a", shape, connections)))
    assert not found["fits"]
    assert said in over(found, "a")


def test_pools_and_destinations_count_for_the_layer_that_sends() -> None:
    layers = [Population("a", (8, 9, 9), (conv("input"),))]
    layers += [Population(f"b{i}", (4, 3, 3), (conv("a", pool=3),)) for i in range(3)]
    found = fit_layers("speck2f", network(*layers))
    assert over(found, "a") == (
        "pool 3, expected one of 1, 2, 4; destinations 3, expected at most 2"
    )


def test_every_constant_has_its_source() -> None:
    device = load_layer_cores("speck2f")
    assert sum(core.cores for core in device.core) == 9
    assert all("Sinabs 3.1.3" in entry.source for entry in (*device.core, *device.layer))


def test_the_command_says_what_fits(tmkt: Any) -> None:
    fits = tmkt("fit", "nmnist-fewshot", "--device", "speck2f", "--json")
    assert fits.code == (0 if fits.json["fits"] else 1)
    assert len(fits.json["layers"]) >= 3
    shown = tmkt("fit", "nmnist-fewshot", "--device", "speck2f")
    assert "a layer a core" in shown.out
    refused = tmkt("fit", "nmnist-fewshot", "--device", "speck2f", "--spread", 4)
    assert refused.code == 2
    assert "--data, --chips or --spread given, expected none" in refused.err
