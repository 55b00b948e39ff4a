"""Placements and times against published ones: Intel's compiler tables for Loihi 2, DVS Gesture on
Loihi 1, PilotNet's measured step.

Tables: printed by Intel's compiler in lava-dl's notebooks (tutorials/lava/lib/dl/netx:
pilotnet_snn, pilotnet_sdnn, yolo_kp, mnist, oxford).
"""

from dataclasses import replace

import numpy as np
import pytest

from tmkt.deploy.fit.device import load_device
from tmkt.deploy.fit.latency import Work, step_time
from tmkt.deploy.fit.network import Connection, Network, Population
from tmkt.deploy.fit.place import place

LOIHI1, LOIHI2 = load_device("loihi1"), load_device("loihi2")


def conv(
    source: str,
    kernel: int,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    bits: int = 8,
) -> tuple[Connection]:
    return (Connection(source, "conv", (kernel, kernel), stride, padding, weight_bits=bits),)


def dense_chain(*sizes: int) -> Network:
    layers, source = [], "input"
    for i, size in enumerate(sizes[1:]):
        layers.append(Population(f"dense{i + 1}", (size,), (Connection(source, "dense"),)))
        source = f"dense{i + 1}"
    return Network((sizes[0],), tuple(layers))


PILOTNET = Network(
    (3, 66, 200),
    (
        Population("in", (3, 66, 200), ()),
        Population("conv1", (24, 32, 99), conv("in", 3, (2, 2))),
        Population("conv2", (36, 15, 49), conv("conv1", 3, (2, 2), bits=7)),
        Population("conv3", (48, 7, 24), conv("conv2", 3, (2, 2), bits=6)),
        Population("conv4", (64, 4, 22), conv("conv3", 3, (2, 1), (1, 0), bits=5)),
        Population("conv5", (64, 2, 20), conv("conv4", 3, bits=5)),
        Population("dense1", (100,), (Connection("conv5", "dense"),)),
        Population("dense2", (50,), (Connection("dense1", "dense"),)),
        Population("dense3", (10,), (Connection("dense2", "dense"),)),
        Population("dense4", (1,), (Connection("dense3", "dense"),)),
    ),
)
#        channels, size, kernel, stride, padding, cores
YOLO = (
    (16, 224, 3, 2, 1, 224),
    (32, 112, 3, 2, 1, 112),
    (64, 56, 3, 2, 1, 56),
    (128, 28, 3, 2, 1, 28),
    (256, 28, 3, 1, 1, 56),
    (256, 14, 3, 2, 1, 16),
    (512, 14, 3, 1, 1, 32),
    (256, 14, 1, 1, 0, 14),
    (512, 14, 3, 1, 1, 32),
    (48, 14, 1, 1, 0, 4),
)


def yolo() -> Network:
    layers, source = [], "input"
    for i, (channels, size, kernel, stride, padding, _) in enumerate(YOLO):
        layers.append(
            Population(
                f"conv{i}",
                (channels, size, size),
                conv(source, kernel, (stride, stride), (padding, padding)),
            )
        )
        source = f"conv{i}"
    return Network((3, 448, 448), tuple(layers))


def test_pilotnet_takes_the_published_cores_tiles_and_words() -> None:
    placement = place(PILOTNET, LOIHI2)
    assert placement.fits(chips=1)
    assert [placed.cores for placed in placement.layers] == [13, 25, 13, 3, 3, 2, 12, 1, 1, 1]
    assert placement.cores == 74
    printed = [
        (16, 66, 3),
        (4, 32, 24),
        (4, 15, 36),
        (8, 7, 48),
        (8, 4, 64),
        (16, 2, 64),
    ]  # columns, rows, channels
    assert [placed.tile[::-1] for placed in placement.layers[:6]] == printed
    assert [placed.used["synapse memory"] for placed in placement.layers[:6]] == [
        0,
        81,
        864,
        1620,
        2160,
        2880,
    ]
    assert [placed.used["neurons"] for placed in placement.layers[:6]] == [
        3168,
        3072,
        2160,
        2688,
        2048,
        2048,
    ]


def test_pilotnet_without_its_input_layer_takes_the_published_cores() -> None:
    first = replace(PILOTNET.layers[1], connections=conv("input", 3, (2, 2)))
    assert place(replace(PILOTNET, layers=(first, *PILOTNET.layers[2:])), LOIHI2).cores == 61


def test_yolo_kp_takes_the_published_cores_layer_by_layer() -> None:
    placement = place(yolo(), LOIHI2)
    assert [placed.cores for placed in placement.layers] == [row[-1] for row in YOLO]
    assert placement.cores == 574


def test_dense_layers_take_the_published_cores_but_for_one() -> None:
    assert [placed.cores for placed in place(dense_chain(784, 128, 64, 10), LOIHI2).layers] == [
        3,
        1,
        1,
    ]  # the MNIST notebook
    # the Oxford notebook prints 3 and 2: the compiler's search oscillated there, the rule is one
    # core short
    assert [placed.cores for placed in place(dense_chain(200, 256, 200), LOIHI2).layers] == [2, 2]


@pytest.mark.parametrize(
    ("neurons", "cores"),
    [(3584, (74, 574)), (4095, (74, 574)), (4096, (72, 574)), (8192, (46, 288))],
)
def test_the_often_quoted_8192_neurons_a_core_contradict_the_tables(
    neurons: int, cores: tuple[int, int]
) -> None:
    device = replace(LOIHI2, limits=replace(LOIHI2.limits, neurons=neurons))
    assert (place(PILOTNET, device).cores, place(yolo(), device).cores) == cores


def test_dvs_gesture_on_loihi_1_is_between_sharing_and_none() -> None:
    """Published: 37 cores (Massa et al. 2020) and 42 (SANA-FE's mapping), neither with how its
    weights are shared.
    """
    network = Network(
        (1, 32, 32),
        (
            Population("conv1", (16, 15, 15), conv("input", 3, (2, 2))),
            Population("conv2", (32, 13, 13), conv("conv1", 3)),
            Population("conv3", (64, 11, 11), conv("conv2", 3)),
            Population("conv4", (11, 9, 9), conv("conv3", 3)),
            Population("dense", (11,), (Connection("conv4", "dense"),)),
        ),
    )
    best, worst = (place(network, LOIHI1, sharing) for sharing in LOIHI1.sharing)
    assert best.cores == 29 < 37 < 42 < worst.cores == 77
    assert best.fits(1)
    assert worst.fits(1)
    assert best.layers[0].layer.name == "input"  # the published mappings count a core for it
    assert best.layers[0].cores == 1


def test_pilotnets_measured_step_is_inside_the_interval() -> None:
    """152.8 us a step measured on Loihi 2 (lava-dl, netx/pilotnet_snn/benchmark.ipynb). Counts a
    step, read off the notebook's plot to 3 %: synaptic operations of the layers' cores; 2280 spikes
    reach each core of conv3, the busiest.
    """
    placement = place(PILOTNET, LOIHI2)
    synops, messages, neurons = np.zeros((3, placement.cores))
    read = {
        "conv2": [131e3] * 12 + [43e3],
        "conv3": [151e3] * 3,
        "conv4": [52.6e3, 52.6e3, 46e3],
        "conv5": [50e3, 17e3],
    }
    for placed in placement.layers:
        here = slice(placed.first_core, placed.first_core + placed.cores)
        neurons[here] = placed.used["neurons"]
        synops[here] = read.get(placed.layer.name, [0.0] * placed.cores)
        messages[here] = 2280 if placed.layer.name == "conv3" else 0
    nothing = np.zeros(placement.cores)
    low, high = step_time(
        LOIHI2, Work(neurons, nothing, nothing, messages, {"conv": synops}), placement.tiles_used
    )
    assert low < 152.8e-6 < high
    assert high < 2.2 * low  # an interval that says something
    slow = step_time(
        LOIHI1, Work(neurons, nothing, nothing, messages, {"conv": synops}), placement.tiles_used
    )
    assert slow[0] > 152.8e-6  # Loihi 1's times do not explain it
