"""The decisions that the exported C makes of events are those of `tmkt stream`, one by one."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_compiler import needs_cc, strict_cc
from example_bundles import SHAPE, STEPS, example_parts, write_example
from example_streams import make_events

from tmkt.bundle import Bundle
from tmkt.deploy.stream.rule import Rule
from tmkt.deploy.stream.run import Settings, Stream
from tmkt.events.frames import InputContract
from tmkt.events.types import Events
from tmkt.export.targets.c import write_c, write_c_header
from tmkt.export.targets.c_events import Camera
from tmkt.program.readout import margin_unit

pytestmark = needs_cc
BIN_US, START_US = 1000, 2**32 - 20_000  # of a clock that runs over 32 bits on the way

DRIVER = """\
#include <stdio.h>
#include "network.h"

static tmkt_stream stream;

static void show(void)
{
    const tmkt_answer *const a = &stream.answer;
    printf("%lu %ld %ld %ld %ld %ld %s\\n", (unsigned long)a->time_us, (long)a->decided,
           (long)a->class_index, (long)a->margin, (long)a->bins, (long)a->events,
           tmkt_names[a->class_index]);
}

int main(int argc, char **argv)
{
    unsigned long t = 0;
    long x, y, p;
    (void)argv;
    tmkt_start(&stream);
    while (scanf("%lu %ld %ld %ld", &t, &x, &y, &p) == 4) {
        while (argc > 1 && t % 7 == 0 && tmkt_tick(&stream, (uint32_t)t)) /* asked twice */
            show();
        while (tmkt_event(&stream, (uint32_t)t, (int32_t)x, (int32_t)y, (int32_t)p))
            show();
    }
    const uint32_t end = TMKT_CARRY ? TMKT_BIN_US : TMKT_BIN_US * (TMKT_WINDOW + 1);
    const uint32_t last = stream.bin_us + end;
    while (tmkt_tick(&stream, last))
        show();
    return 0;
}
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_example(tmp_path_factory.mktemp("stream") / "bundle", example_parts(), files=[])


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return strict_cc(tmp_path_factory.mktemp("cc"))


def decide_in_c(
    bundle: Bundle, events: Events, defines: dict[str, Any], folder: Path, compiler: Path
) -> list[list[int]]:
    """Compile the bundle's C with these settings, run the events through it, return its answers."""
    names = [f'{name} (é"?)' for name in bundle.classes]
    contract = InputContract(SHAPE[1:], STEPS, BIN_US, bundle.contract.max_count)
    camera = Camera(contract, names, bundle.nothing)
    write_c(bundle.program, folder / "network.c", camera)
    write_c_header(bundle.program, folder / "network.h", camera)
    (folder / "main.c").write_text(DRIVER)
    flags = [f"-DTMKT_{name}={value}" for name, value in defines.items()]
    command = [compiler / "cc", "-std=c99", *flags, "main.c", "network.c", "-o", "stream"]
    subprocess.run(command, cwd=folder, check=True)
    columns = np.stack([events.t % 2**32, events.x, events.y, events.p], 1).astype(np.int64)
    text = "\n".join(" ".join(map(str, row)) for row in columns)
    found = []
    for more in ([], ["ticks"]):
        done = subprocess.run(
            [folder / "stream", *more], input=text, capture_output=True, text=True, check=True
        )
        lines = done.stdout.splitlines()
        assert all(line.split(" ", 6)[6] == names[int(line.split()[2])] for line in lines)
        found.append([[int(n) for n in line.split()[:6]] for line in lines])
    assert found[0] == found[1]  # asking for the time in between changes nothing
    return found[0]


@pytest.mark.parametrize("margin", [None, 0.0])
def test_it_decides_nothing_for_the_class_of_noise(
    tmp_path: Path, bundle: Bundle, compiler: Path, margin: float | None
) -> None:
    events = make_events(7, SHAPE[1:], [0, 900, 5_000, 200_000])
    settings = Settings(device=None, rule=Rule(margin))
    plain = list(Stream(bundle, SHAPE[1:], settings).decisions([events]))
    nothing = bundle.classes.index(plain[0].best)
    silent = replace(bundle, manifest={**bundle.manifest, "nothing": nothing})
    defines = {"MARGIN": 0} if margin is not None else {}
    lines = decide_in_c(silent, events, defines, tmp_path, compiler)
    found = [line[:3] for line in lines if line[2] != nothing]
    decided = Stream(silent, SHAPE[1:], settings).decisions([events])
    assert found == [
        [d.time_us % 2**32, int(d.decided is not None), bundle.classes.index(d.best)]
        for d in decided
    ]
    assert margin is not None or any(line[2] == nothing for line in lines)
    assert all(line[1] == 0 for line in lines if line[2] == nothing)


CASES = [
    ({}, [0, 900, 5_000, 200_000], SHAPE[1:], {}),
    ({"margin": 0.5, "hold": 2}, [0, 5_000], SHAPE[1:], {}),
    ({"margin": 0.0, "min_events": 150, "window": 4}, [900, 200_000], SHAPE[1:], {}),
    ({"state": "carry"}, [0, 5_000, 200_000, 900], SHAPE[1:], {}),
    ({"state": "carry", "stride": 3, "window": 4, "margin": 0.5}, [5_000, 41_000], SHAPE[1:], {}),
    ({}, [5_000], (3 * SHAPE[1] + 1, 2 * SHAPE[2] + 3), {}),
    (
        {"corner": (1, 2), "factor": 1},
        [5_000],
        (2 * SHAPE[1], SHAPE[2] + 4),
        {"LEFT": 1, "TOP": 2, "FACTOR": 1},
    ),
    ({}, [5_000], (SHAPE[1] - 3, SHAPE[2] - 2), {}),
]


@pytest.mark.parametrize(("options", "gaps", "sensor", "more"), CASES)
def test_its_decisions_are_those_of_tmkt_stream(
    tmp_path: Path,
    bundle: Bundle,
    compiler: Path,
    options: dict[str, Any],
    gaps: list[int],
    sensor: tuple[int, int],
    more: dict[str, int],
) -> None:
    events = make_events(7, sensor, gaps)
    events.t[:] += START_US - events.t[0]
    options = dict(options)
    margin, hold = options.pop("margin", None), options.pop("hold", 1)
    least = options.pop("min_events", 1)
    settings = Settings(device=None, rule=Rule(margin, hold, least), **options)
    defines = {
        "SENSOR_WIDTH": sensor[1],
        "SENSOR_HEIGHT": sensor[0],
        "CARRY": int(settings.state == "carry"),
        "MIN_EVENTS": least,
        "HOLD": hold,
        **{name.upper(): options[name] for name in ("window", "stride") if name in options},
        **more,
    }
    if margin is not None:
        defines["MARGIN"] = round(margin * margin_unit(bundle.program))
    expected = [
        [
            decision.time_us % 2**32,
            int(decision.decided is not None),
            bundle.classes.index(decision.best),
            decision.answer.margin,
            decision.bins,
            decision.answer.events,
        ]
        for decision in Stream(bundle, sensor, settings).decisions([events])
    ]
    assert expected
    assert decide_in_c(bundle, events, defines, tmp_path, compiler) == expected
