"""Estimators that need a placement, and the quantised ANN: against published figures, and against
the traffic that they come from.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_activity import by_hand
from example_bundles import STEPS, example_frames, example_parts, write_example

from tmkt.deploy.energy import ann
from tmkt.deploy.energy.activity import Activity, ChipActivity, count_activity
from tmkt.deploy.energy.calibrated import cost, neurons_by_core
from tmkt.deploy.energy.constants import load_constants
from tmkt.deploy.energy.estimate import to_json
from tmkt.deploy.energy.placement_estimators import calibrated, pilotnet, static
from tmkt.deploy.engines.registry import open_engine
from tmkt.deploy.fit.traffic import traffic

FRAMES = example_frames(4)
LABELS = np.array([0, 1, 2, 3], np.int64)
# N-MNIST network 2x34x34 -> 16@34 -> 32@16 -> 32@8 -> 10, pools unrolled; measured: the crossovers
# below
NMNIST = ann.Size(
    {"conv": 6_826_496, "dense": 20_480},
    320_000 + (4_524_032 + 1_982_464 + 20_480) / 4,
    2312,
    28_746,
    28_736,
)


@pytest.fixture(scope="module")
def activity(tmp_path_factory: pytest.TempPathFactory) -> Activity:
    return count_activity(
        write_example(tmp_path_factory.mktemp("bundle") / "b", example_parts()),
        FRAMES,
        LABELS,
        ["loihi1", "loihi2"],
    )


def chip(activity: Activity, device: str) -> ChipActivity:
    on = activity.on[device]
    assert isinstance(on, ChipActivity)
    return on


def test_the_calibrated_energy_is_that_of_the_formula_split_by_layer_and_step(
    activity: Activity, tmp_path: Path
) -> None:
    bundle = write_example(tmp_path / "b", example_parts())
    on, c = chip(activity, "loihi1"), load_constants("loihi1", "loihi1-calibrated")
    moved = traffic(on.placement, FRAMES, open_engine("simulator", bundle).run(FRAMES).spikes)
    busy = np.broadcast_to(
        neurons_by_core(on.placement), (4, STEPS, on.placement.cores)
    )  # every neuron has a bias
    expected = cost(on.placement, moved, busy, c)
    found = calibrated(activity, on, c)
    assert found.per_sample()[0] == pytest.approx(expected.energy_j)
    report = to_json(found, activity)
    assert {part["name"]: part["energy_j"] for part in report["parts"]} == pytest.approx(
        {
            "synapse": expected.synapse_j.sum() / 4,
            "soma": expected.soma_j.sum() / 4,
            "network": expected.network_j.mean(),
        }
    )
    assert (report["low_j"], report["high_j"]) == pytest.approx(
        (0.883 * report["energy_j"], 1.117 * report["energy_j"])
    )


def test_pilotnets_own_activity_gives_its_measured_power(activity: Activity) -> None:
    """2.29 M operations a step are 68.3 uJ, and 74 cores 0.447 W: the measurement behind the
    constants.
    """
    c = load_constants("loihi2", "loihi2-pilotnet")
    assert c["all_in_synop"] * 2.29e6 == pytest.approx(0.447 * 152.8e-6, rel=5e-3)
    assert c["active_core"] * 74 == pytest.approx(0.447, rel=5e-3)
    on = chip(activity, "loihi2")
    found = to_json(pilotnet(activity, on, c), activity)
    by_synops = c["all_in_synop"] * activity.trace.per_sample("synops").mean()
    by_time = [
        c["active_core"] * on.placement.cores * float(step.sum(1).mean())
        for step in (on.step_low_s, on.step_high_s)
    ]
    assert found["low_j"] == pytest.approx(min(by_synops, *by_time))
    assert found["high_j"] == pytest.approx(max(by_synops, *by_time))
    assert found["energy_j"] == pytest.approx(by_synops / 2 + sum(by_time) / 4)


def test_static_power_counts_by_time_and_in_a_stream_all_the_time(activity: Activity) -> None:
    on = chip(activity, "loihi2")
    found = to_json(static(activity, on, load_constants("loihi2", "loihi2-static")), activity)
    assert found["low_j"] == pytest.approx(0.232 * on.step_low_s.sum(1).mean())
    assert found["high_j"] == pytest.approx(0.282 * on.step_high_s.sum(1).mean())
    assert (found["per_second"]["low_j"], found["per_second"]["high_j"]) == pytest.approx(
        (0.232, 0.282)
    )
    assert [layer["name"] for layer in found["layers"]] == ["chip"]
    first = chip(activity, "loihi1")
    found = to_json(static(activity, first, load_constants("loihi1", "loihi1-static")), activity)
    assert found["low_j"] == pytest.approx(
        0.815e-3 * first.placement.cores * first.step_low_s.sum(1).mean()
    )
    assert found["high_j"] == pytest.approx(0.104 * first.step_high_s.sum(1).mean())


@pytest.mark.parametrize(
    ("steps", "density", "expected"),
    [(10, 1.0, 8.9), (10, 0.5, 3.9), (10, 0.3, 1.9), (5, 1.0, 19.0), (5, 0.5, 9.0), (5, 0.3, 5.0)],
)
def test_the_crossover_on_one_chip_is_the_measured_one(
    steps: int, density: float, expected: float
) -> None:
    """N-MNIST: 6.847 M synapses, 28,746 neurons; a spike costs 69.3 pJ, its messages and hops."""
    ann_pj = 24 * 6.847e6 + 500 * 28_746
    assert 100 * ann.same_chip_crossover(
        ann_pj, 72.8 * 28_746, steps, density, 1.0
    ) == pytest.approx(expected, abs=0.1)


def test_the_published_crossovers_come_out() -> None:
    """Spyx' network 256-128-10 for 5 to 10 steps, mean 5.986 %."""
    c = load_constants("22nm-cmos-proxy", "yan2024")
    size = ann.Size({"conv": 0, "dense": 256 * 128 + 128 * 10}, 256 * 128 + 128 * 10, 256, 138, 128)
    rates = [100 * ann.yan_crossover(c, size, steps, "dram_bit", 8) for steps in range(5, 11)]
    assert rates == pytest.approx([7.50, 6.25, 5.36, 6.25, 5.56, 5.00], abs=0.05)
    assert np.mean(rates) == pytest.approx(5.986, abs=0.03)


@pytest.mark.parametrize(
    ("bits", "memory", "expected"),
    [
        (None, "dram_bit", (20, 14, 10)),
        (4, "dram_bit", (15, 11, 10)),
        (8, "sram_bit", (7.9, 5.3, 4.9)),
    ],
)
def test_what_the_published_crossover_rests_on(
    bits: int | None, memory: str, expected: tuple[float, ...]
) -> None:
    c = load_constants("22nm-cmos-proxy", "yan2024")
    size = ann.Size({"conv": 0, "dense": 256 * 128 + 128 * 10}, 256 * 128 + 128 * 10, 256, 138, 128)
    rates = [
        100 * ann.yan_crossover(c, size, steps, memory, bits or ann.bits(steps))
        for steps in (5, 7, 10)
    ]
    assert rates == pytest.approx(expected, abs=0.5)


def test_pooling_before_the_multiplication_moves_the_crossover() -> None:
    """N-MNIST, 10 steps; measured: 5.0 %, and 2.0 % where the ANN takes the pooled form."""
    c = load_constants("22nm-cmos-proxy", "yan2024")
    assert 100 * ann.yan_crossover(c, NMNIST, 10, "dram_bit", 8) == pytest.approx(5.0, abs=0.1)
    pooled = 100 * ann.yan_crossover(c, NMNIST, 10, "dram_bit", 8, pooled=True)
    assert pooled < 2.1


def test_a_program_is_counted_as_its_synapses_are_driven(activity: Activity) -> None:
    """Every site spikes once: as many operations as there are synapses."""
    from tmkt.deploy.trace import count

    program = activity.program
    full = {
        layer.name: np.ones((1, 1, *layer.shape), np.uint8)
        for layer in program.layers
        if layer.fires
    }
    trace = count(program, np.ones((1, 1, *program.input_shape), np.uint8), full)
    size = ann.size_of(program)
    assert size.all_synapses == trace.per_sample("synops")[0]
    assert size.pooled_synapses < size.all_synapses
    assert size.neurons == sum(layer.neurons for layer in program.layers)


def test_bits_tell_as_much_as_spikes() -> None:
    assert [ann.bits(steps) for steps in (1, 3, 4, 7, 8, 10, 15, 16)] == [1, 2, 3, 3, 4, 4, 4, 5]


@pytest.mark.parametrize(("rate", "wins"), [(0.01, True), (0.02, None), (0.05, None), (0.2, False)])
def test_the_verdict_is_open_inside_the_interval(rate: float, wins: bool | None) -> None:
    assert ann.verdict(rate, 0.04, 0.02, 0.1)["spiking_wins"] is wins


def test_the_ann_of_the_same_chip_has_an_interval_and_a_verdict(activity: Activity) -> None:
    c, assumed = (
        load_constants("loihi1", "loihi1-calibrated"),
        load_constants("loihi1", "bit-matched-ann"),
    )
    found = ann.same_chip(activity, chip(activity, "loihi1"), c, assumed)
    assert found["low_j"] < found["energy_j"] < found["high_j"]
    assert found["crossover_low"] < found["crossover"] < found["crossover_high"]
    assert found["rate"] == pytest.approx(
        activity.trace.per_sample("synops").mean()
        / (STEPS * ann.size_of(activity.program).all_synapses)
    )
    assert found["activation_bits"] == 3


def test_multi_chip_messages_are_named_as_left_out(activity: Activity) -> None:
    on = replace(chip(activity, "loihi1"), between_chips=np.full(4, 1234.0))
    found = calibrated(activity, on, load_constants("loihi1", "loihi1-calibrated"))
    assert any("1,234 messages" in line for line in found.excludes)


def test_a_single_recording_has_no_spread() -> None:
    from tmkt.deploy.energy.count_estimators import horowitz45nm

    activity = by_hand([1000], 10, 1)
    assert (
        to_json(
            horowitz45nm(activity, load_constants("45nm-cmos-proxy", "horowitz45nm")), activity
        )["sd_j"]
        is None
    )
