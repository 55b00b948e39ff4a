"""Tests of a bundle on a stream: the decisions depend on neither chunks, engine nor gaps."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_bundles import SHAPE, STEPS, example_parts, write_example
from example_streams import cut, make_events, part, plain_frames
from hypothesis import given, settings
from hypothesis import strategies as st

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.deploy.stream.calibrate import (
    choose_margin,
    choose_min_events,
    choose_reject_below,
    windows_around,
)
from tmkt.deploy.stream.rule import Rule, leading_class
from tmkt.deploy.stream.run import Settings, Stream
from tmkt.errors import InputError
from tmkt.events.frames import events_to_frames
from tmkt.events.types import Events
from tmkt.program.readout import margin_unit
from tmkt.program.simulator.simulator import Simulator

SENSOR, BIN_US = SHAPE[1:], 1000
GAPS = st.lists(st.sampled_from([0, 900, 5_000, 200_000]), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_example(
        tmp_path_factory.mktemp("stream") / "bundle", example_parts(), files=[bundles.ONNX]
    )


def run(
    bundle: Bundle, chunks: list[Events], **options: Any
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    stream = Stream(bundle, SENSOR, Settings(**{"device": None, **options}))
    lines = [decision.to_json(times=False) for decision in stream.decisions(chunks)]
    return lines, stream.report(times=False)


def settings_drawn(draw: Any) -> dict[str, Any]:
    margin = draw(st.sampled_from([None, 0.0, 0.5, 3.0]))
    return {
        "state": draw(st.sampled_from(["reset", "carry"])),
        "window": draw(st.sampled_from([None, 1, 4])),
        "stride": draw(st.sampled_from([None, 1, 3, 9])),
        "rule": Rule(
            margin,
            1 if margin is None else draw(st.sampled_from([1, 2])),
            draw(st.sampled_from([1, 150])),
        ),
        "origin": draw(st.sampled_from(["first", "clock"])),
    }


@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(0, 2**32 - 1), GAPS, st.lists(st.integers(0, 600), max_size=9))
def test_same_stream_same_bytes_whatever_the_chunks(
    bundle: Bundle, data: Any, seed: int, gaps: list[int], ends: list[int]
) -> None:
    options, events = settings_drawn(data.draw), make_events(seed, SENSOR, gaps)
    whole, in_chunks = (
        json.dumps(run(bundle, chunks, **options)) for chunks in ([events], cut(events, ends))
    )
    assert whole == in_chunks


@settings(max_examples=15, deadline=None)
@given(st.data(), st.integers(0, 2**32 - 1), GAPS)
def test_onnx_runtime_decides_as_the_simulator(
    bundle: Bundle, data: Any, seed: int, gaps: list[int]
) -> None:
    options, events = settings_drawn(data.draw), make_events(seed, SENSOR, gaps)
    (ours, report), (theirs, other) = (
        run(bundle, [events], engine=engine, **options) for engine in ("simulator", "onnx")
    )
    assert ours == theirs
    assert {**report, "faults": None} == other


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), GAPS, st.sampled_from([(None, None), (4, 4), (6, 2), (3, 5)]))
def test_windows_are_recordings_cut_out_of_the_stream(
    bundle: Bundle, seed: int, gaps: list[int], sizes: tuple[int | None, int | None]
) -> None:
    """Run each window with events alone, from zero, the stream's end filled with empty bins."""
    events = make_events(seed, SENSOR, gaps)
    window, stride = sizes[0] or STEPS, sizes[1] or STEPS
    frames = plain_frames(events, BIN_US, int(events.t[0]), bundle.program.max_count)
    frames = np.concatenate([frames, np.zeros((window, *SHAPE), np.uint8)])
    expected = []
    for begin in range(0, len(frames) - window, stride):
        if frames[begin : begin + window].any():
            best, margin = leading_class(
                Simulator(bundle.program, 1).run(frames[None, begin : begin + window]).readout[0]
            )
            expected.append(
                (
                    begin * BIN_US + int(events.t[0]),
                    bundle.classes[best],
                    round(margin / margin_unit(bundle.program), 6),
                )
            )
    lines, _ = run(bundle, [events], window=sizes[0], stride=sizes[1])
    assert [(line["window_us"][0], line["class"], line["margin"]) for line in lines] == expected


@settings(max_examples=10, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.lists(st.sampled_from([0, 900, 5_000]), min_size=1, max_size=3)
)
def test_carried_state_reads_what_the_last_bins_added_to_the_membrane(
    bundle: Bundle, seed: int, gaps: list[int]
) -> None:
    events = make_events(seed, SENSOR, gaps)
    frames = plain_frames(events, BIN_US, int(events.t[0]), bundle.program.max_count)
    membranes, state = [np.zeros(bundle.program.classes, np.int64)], None
    for frame in frames:
        result = Simulator(bundle.program, 1).run(frame[None, None], state)
        state = result.state
        membranes.append(result.readout[0])
    expected = [
        leading_class(membranes[i] - membranes[i - STEPS]) for i in range(STEPS, len(membranes))
    ]
    lines, _ = run(bundle, [events], state="carry")
    assert [(line["class"], line["margin"]) for line in lines] == [
        (bundle.classes[b], round(m / margin_unit(bundle.program), 6)) for b, m in expected
    ]


@pytest.mark.parametrize("state", ["reset", "carry"])
@pytest.mark.parametrize("margin", [None, 0.0])
def test_a_stream_says_nothing_for_the_class_of_noise(
    bundle: Bundle, state: str, margin: float | None
) -> None:
    events = make_events(3, SENSOR, [0, 900, 5_000])
    options: dict[str, Any] = {"state": state, "stride": 1, "rule": Rule(margin)}
    plain, before = run(bundle, [events], **options)
    most = max(before["classes"], key=lambda name: before["classes"][name])
    silent = replace(bundle, manifest={**bundle.manifest, "nothing": bundle.classes.index(most)})
    lines, report = run(silent, [events], **options)
    assert before["classes"][most] > 0
    assert most not in {line["best"] for line in lines}
    assert most not in report["classes"]
    assert report["nothing"] + len(lines) == report["answers"]
    if margin is None:  # windows answer at their ends, so the others decide as before
        assert report["nothing"] == sum(line["best"] == most for line in plain)
        keys = ("window_us", "class", "margin")
        assert [[line[key] for key in keys] for line in lines] == [
            [line[key] for key in keys] for line in plain if line["best"] != most
        ]


def test_a_low_read_out_is_rejected(bundle: Bundle) -> None:
    events = make_events(3, SENSOR, [0, 900, 5_000])
    frames = plain_frames(events, BIN_US, int(events.t[0]), bundle.program.max_count)
    frames = np.concatenate([frames, np.zeros((STEPS, *SHAPE), np.uint8)])
    simulator, unit = Simulator(bundle.program, 1), margin_unit(bundle.program)
    windows = [frames[i : i + STEPS] for i in range(0, len(frames) - STEPS, STEPS)]
    best = [simulator.run(one[None]).readout[0].max() / unit for one in windows if one.any()]
    least = float(np.median(best))
    lines, report = run(bundle, [events], rule=Rule(reject_below=least))
    assert [line["class"] is not None for line in lines] == [one >= least for one in best]
    assert 0 < report["decided"] < report["answers"]


def test_the_read_out_that_most_recordings_reach_is_chosen(bundle: Bundle) -> None:
    frames = np.random.default_rng(0).integers(0, 2, (40, STEPS, *SHAPE)).astype(np.uint8)
    least = choose_reject_below(bundle.program, frames) * margin_unit(bundle.program)
    best = Simulator(bundle.program, 1).run(frames).readout.max(1)
    assert (best >= least - 1e-6).mean() == pytest.approx(0.95, abs=0.03)


def test_carried_state_does_not_saturate_in_a_long_stream(bundle: Bundle) -> None:
    _, report = run(bundle, [make_events(0, SENSOR, [0] * 40, burst=500)], state="carry")
    assert report["steps"] > 350
    assert not any(report["faults"].values())


def test_a_recording_streams_as_it_is_evaluated(bundle: Bundle) -> None:
    events = make_events(5, SENSOR, [0])
    readout = (
        Simulator(bundle.program, 1).run(events_to_frames(events, bundle.contract)[None]).readout[0]
    )
    (line,), _ = run(bundle, [events])
    assert line["class"] == bundle.classes[int(np.argmax(readout))]
    assert line["time_us"] == int(events.t[0]) + STEPS * BIN_US


@pytest.mark.parametrize("state", ["reset", "carry"])
def test_a_stamp_far_ahead_takes_no_time(bundle: Bundle, state: str) -> None:
    lines, report = run(bundle, [make_events(0, SENSOR, [10**15, 0], burst=400)], state=state)
    assert report["steps"] < 100
    assert report["restarts"] == (1 if state == "carry" else 0)
    assert lines[-1]["time_us"] > 10**15


def test_an_early_decision_ends_its_window_and_waits_for_the_margin(bundle: Bundle) -> None:
    events = make_events(1, SENSOR, [0], burst=300)
    early, at_once = run(bundle, [events], rule=Rule(0.0))
    assert [line["bins"] for line in early] == [1]
    assert at_once["steps"] == 1
    (held,), _ = run(bundle, [events], rule=Rule(0.0, hold=2))
    assert held["bins"] >= 2
    (never,), report = run(bundle, [events], rule=Rule(1e6))
    assert never["class"] is None
    assert never["bins"] == STEPS
    assert report["undecided"] == 1


def test_with_few_events_nothing_is_decided(bundle: Bundle) -> None:
    events = make_events(1, SENSOR, [0], burst=100)
    for options in ({}, {"state": "carry", "window": 2}):
        assert {
            line["class"] for line in run(bundle, [events], rule=Rule(min_events=101), **options)[0]
        } == {None}
    assert run(bundle, [events], rule=Rule(min_events=100))[0][0]["class"] is not None


def test_events_outside_the_crop_start_no_window(bundle: Bundle) -> None:
    events = make_events(0, (SENSOR[0], SENSOR[1] + 4), [0])
    outside = replace(events, x=np.full_like(events.x, SENSOR[1] + 3))
    stream = Stream(bundle, outside.sensor, Settings(device=None, corner=(0, 0)))
    assert list(stream.decisions([outside])) == []
    assert stream.report(times=False)["events_outside_crop"] == len(events)


def test_a_decision_is_given_before_later_events_are_asked_for(bundle: Bundle) -> None:
    events = make_events(0, SENSOR, [0], burst=1000)
    edge = int(np.searchsorted(events.t, events.t[0] + STEPS * BIN_US)) + 1

    def chunks() -> Iterator[Events]:
        yield part(events, 0, edge)
        pytest.fail("asked for more events, though a window was complete")

    assert (
        next(Stream(bundle, SENSOR, Settings(device=None)).decisions(chunks())).answer.last
        == STEPS - 1
    )


def test_chip_latency_and_energy_are_those_of_the_steps_that_ran(bundle: Bundle) -> None:
    events = make_events(1, SENSOR, [0], burst=300)
    for options, behind in ({}, 1), ({"stride": 2}, STEPS), ({"rule": Rule(0.0)}, 1):
        stream = Stream(bundle, SENSOR, Settings(device="loihi1", **options))
        (first, *_), depth = list(stream.decisions([events])), len(bundle.program.layers)
        assert first.cost is not None
        assert first.cost.step_us is not None
        assert first.cost.latency_us == tuple(
            step * (behind + depth) for step in first.cost.step_us
        )
        low, high = first.cost.energy_j["davies2018"]
        assert 0 < low < high
        assert stream.report()["chip"]["keeps_up"]
    whole, early = (
        next(Stream(bundle, SENSOR, Settings(rule=rule)).decisions([events])).cost
        for rule in (Rule(), Rule(0.0))
    )
    assert whole is not None
    assert early is not None
    assert early.energy_j["davies2018"][1] < whole.energy_j["davies2018"][0]


def test_a_network_that_does_not_fit_has_no_latency_on_the_chip(
    bundle: Bundle, tmp_path: Path
) -> None:
    from tmkt.deploy.fit.device import load_device

    text = (
        Path(load_device.__code__.co_filename).parents[1] / "devices" / "loihi2.toml"
    ).read_text(encoding="utf-8")
    small = tmp_path / "small.toml"
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.strip() == 'name = "synapse_words"')
    value = next(i for i in range(at, at + 4) if lines[i].startswith("value"))
    lines[value] = "value = 1"
    small.write_text("\n".join(lines), encoding="utf-8")
    ((line, *_),) = (
        [
            d.to_json()
            for d in Stream(bundle, SENSOR, Settings(device=str(small))).decisions(
                [make_events(1, SENSOR, [0])]
            )
        ],
    )
    assert line["chip_us"] is None
    assert line["energy_j"] == {}


def test_a_leaking_read_out_cannot_be_carried(bundle: Bundle) -> None:
    program = bundle.program
    leaky = replace(
        program, layers=(*program.layers[:-1], replace(program.layers[-1], voltage_decay=100))
    )
    with pytest.raises(InputError, match="--state reset"):
        Stream(replace(bundle, program=leaky), SENSOR, Settings(state="carry"))


def test_windows_around_recordings_hold_at_least_half_of_one() -> None:
    frames = np.zeros((2, 4, 1, 1, 1), np.uint8)
    frames[0, :, 0, 0, 0] = [1, 2, 3, 4]
    frames[1, 0] = 8  # all at once, in the first bin
    windows, labels = windows_around(frames, np.array([5, 6]))
    found = [[label, *w.ravel()] for label, w in zip(labels, windows, strict=True)]
    first = [[5, 3, 4, 0, 0], [5, 2, 3, 4, 0], [5, 1, 2, 3, 4], [5, 0, 1, 2, 3]]
    second = [[6, 8, 0, 0, 0], [6, 0, 8, 0, 0], [6, 0, 0, 8, 0]]
    assert sorted(found) == sorted([*first, *second])


@pytest.mark.parametrize(
    ("options", "said"),
    [({"engine": "lava"}, "simulator, onnx"), ({"window": 2000, "stride": 1}, "--stride")],
)
def test_settings_that_cannot_be_run_are_refused(
    bundle: Bundle, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        Stream(bundle, SENSOR, Settings(**options))


def test_a_chosen_margin_keeps_its_promise_in_the_stream(bundle: Bundle) -> None:
    """Label recordings with the network's final answer: the share of decisions that was asked for
    agrees with it.
    """
    recordings = [make_events(seed, SENSOR, [0], burst=600) for seed in range(12)]
    frames = np.stack([events_to_frames(events, bundle.contract) for events in recordings])
    labels = np.argmax(Simulator(bundle.program, 1).run(frames).readout, axis=1)
    chosen = choose_margin(bundle.program, frames, labels, target=0.9)
    assert chosen.accuracy is not None
    assert chosen.accuracy >= 0.9
    lines = [
        run(bundle, [part(events, 0, len(events))], rule=Rule(chosen.margin))[0][0]
        for events in recordings
    ]
    decided = [
        line["class"] == bundle.classes[label]
        for line, label in zip(lines, labels, strict=True)
        if line["class"] is not None
    ]
    assert len(decided) / len(lines) == chosen.decided
    assert sum(decided) / len(decided) == chosen.accuracy
    assert choose_min_events(frames) == min(int(f.sum()) for f in frames) // 2
