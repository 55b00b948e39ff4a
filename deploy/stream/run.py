"""Runs a bundle on a stream of events, and tells how good, how late and how expensive its decisions
are.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal

import numpy as np

from tmkt.bundle import Bundle
from tmkt.deploy.stream.costs import Cost, Costs
from tmkt.deploy.stream.rule import Rule, unit
from tmkt.deploy.stream.steps import open_steps
from tmkt.deploy.stream.summary import Summary
from tmkt.deploy.stream.windows import Answer, Carried, Tracker, Windows
from tmkt.errors import InputError
from tmkt.events.binning import Bin, Binner, Origin
from tmkt.events.mapping import Combine, choose_mapping
from tmkt.events.types import Events

State = Literal["reset", "carry"]
# open at once: ours, so that a stream of long windows and short strides stays within memory
MOST_WINDOWS = 100


@dataclass(frozen=True)
class Settings:
    """How a stream is run; docs/streams.md states every rule. `window` and `stride` in bins, None:
    the bundle's own number of bins, and as many as the window (carried state: 1). `device` None: no
    costs on a chip. `live`: the source waits for its events, it has none in stock.
    """

    engine: str = "simulator"
    state: State = "reset"
    window: int | None = None
    stride: int | None = None
    rule: Rule = field(default_factory=Rule)
    origin: Origin = "first"
    corner: tuple[int, int] | None = None
    factor: int | None = None
    combine: Combine = "sum"
    device: str | None = "loihi1"
    live: bool = False


@dataclass(frozen=True)
class Decision:
    """One answer in the stream's own time. `time_us`: the end of the last bin that it rests on;
    `host_us`: how long this host took from having that bin's events to the answer.
    """

    number: int
    answer: Answer
    time_us: int
    window_us: tuple[int, int]
    best: str
    margin: float
    cost: Cost | None
    host_us: float

    @property
    def decided(self) -> str | None:
        """The class, None where the rule is not confident."""
        return self.best if self.answer.confident else None

    def to_json(self, times: bool = True) -> dict[str, Any]:
        """A line of the output. Only what is under "times" depends on this host."""
        line: dict[str, Any] = {
            "decision": self.number,
            "time_us": self.time_us,
            "window_us": list(self.window_us),
            "class": self.decided,
            "best": self.best,
            "margin": round(self.margin, 6),
            "bins": self.answer.last - self.answer.begin + 1,
            "events": self.answer.events,
            "chip_us": (
                None
                if self.cost is None or self.cost.latency_us is None
                else [_short(end) for end in self.cost.latency_us]
            ),
            "energy_j": (
                None
                if self.cost is None
                else {
                    name: [_short(end) for end in ends] for name, ends in self.cost.energy_j.items()
                }
            ),
        }
        return line | {"times": {"host_us": round(self.host_us, 1)}} if times else line


def _short(value: float) -> float:
    """Six digits: what the estimates are worth, and more."""
    return float(f"{value:.6g}")


class Stream:
    """A bundle on one stream; use it once. InputError for settings that do not fit the bundle or
    the sensor.
    """

    def __init__(self, bundle: Bundle, sensor: tuple[int, int], settings: Settings) -> None:
        program, contract = bundle.program, bundle.contract
        self.bundle, self.settings = bundle, settings
        self.window = contract.bins if settings.window is None else settings.window
        self.stride = settings.stride or (1 if settings.state == "carry" else self.window)
        if self.window > self.stride * MOST_WINDOWS and settings.state == "reset":
            raise InputError(
                f"windows of {self.window} bins every {self.stride}, expected at most"
                f" {MOST_WINDOWS} at a time; lengthen --stride"
            )
        self.mapping = choose_mapping(
            sensor, contract, settings.corner, settings.factor, settings.combine
        )
        self.binner = Binner(self.mapping, contract.bin_us, settings.origin)
        self.steps = open_steps(settings.engine, bundle)
        tracker = Windows if settings.state == "reset" else Carried
        self.tracker: Tracker = tracker(
            self.steps, program, self.window, self.stride, settings.rule
        )
        self.costs = None if settings.device is None else Costs(bundle, settings.device)
        self.summary = Summary(bundle.classes)
        self._warm_up()

    def _warm_up(self) -> None:
        """One step and its costs: what runs first is compiled or loaded, and that must not make the
        first decisions late.
        """
        frame = np.zeros(self.bundle.program.input_shape, np.uint8)
        spikes = self.steps.step(frame, self.steps.start()).spikes
        if self.costs is not None:
            self.costs.of(
                Answer(
                    0,
                    0,
                    0,
                    0,
                    False,
                    0,
                    frame[None],
                    {name: array[None] for name, array in spikes.items()},
                    behind=1,
                )
            )

    def decisions(
        self, chunks: Iterable[Events], on_bin: Callable[[Bin], None] | None = None
    ) -> Iterator[Decision]:
        """The decisions, one by one, as the events come. `on_bin` is told every bin that is
        complete and has events.
        """
        began = ready = perf_counter()
        for events in chunks:
            arrived = perf_counter()
            for bin_ in self.binner.push(events):
                if on_bin:
                    on_bin(bin_)
                available = (
                    arrived if self.settings.live else max(arrived, ready)
                )  # a file's own backlog is not lateness
                yield from self._decide(self.tracker.push(bin_), available)
                ready = perf_counter()
            self._passed(ready - began)
        for bin_ in self.binner.end():
            if on_bin:
                on_bin(bin_)
            yield from self._decide(self.tracker.push(bin_), perf_counter())
        yield from self._decide(self.tracker.end(), perf_counter())
        self._passed(perf_counter() - began)

    def _decide(self, answers: Iterator[Answer], available: float) -> Iterator[Decision]:
        for answer in answers:
            answered = perf_counter()
            late_us = 1e6 * (answered - available)
            cost = None if self.costs is None else self.costs.of(answer)
            time_us, window_us = (
                self.binner.time_us(answer.last + 1),
                self.binner.time_us(answer.begin),
            )
            margin = answer.margin / unit(self.bundle.program)
            best = self.bundle.classes[answer.best]
            decision = Decision(
                self.summary.answers,
                answer,
                time_us,
                (window_us, time_us),
                best,
                margin,
                cost,
                late_us,
            )
            self.summary.add(decision.decided, late_us, cost, len(answer.frames))
            yield decision
            available += (
                perf_counter() - answered
            )  # what is done with an answer does not make the next one of this bin late

    def _passed(self, elapsed_s: float) -> None:
        self.summary.elapsed_s = elapsed_s

    def header(self, name: str) -> dict[str, Any]:
        """What is run and by which rules."""
        costs = self.costs
        placed = None
        if costs is not None:
            placed = {
                "device": costs.device,
                "fits": costs.fits,
                "cores": costs.placement.cores,
                "energy": costs.receipts,
            }
        return {
            "bundle": str(self.bundle.path),
            "source": name,
            "engine": self.settings.engine,
            "mapping": self.mapping.to_json(),
            "rule": self.settings.rule.to_json(),
            "state": self.settings.state,
            "bin_us": self.bundle.contract.bin_us,
            "window_bins": self.window,
            "stride_bins": self.stride,
            "origin": self.settings.origin,
            "chip": placed,
        }

    def report(self, times: bool = True) -> dict[str, Any]:
        """The summary so far."""
        binner = self.binner
        seen_us = 0 if binner.origin_us is None else binner.last_us - binner.origin_us
        report = {
            "events": binner.events,
            "events_outside_crop": binner.unseen,
            "duration_s": seen_us * 1e-6,
            "steps": self.tracker.steps_run,
            "restarts": self.tracker.restarts,
            "faults": self.steps.faults,
            **self.summary.to_json(),
        }
        if self.costs is not None:
            report["chip"] = self.summary.chip(self.costs, seen_us, self.tracker.steps_run)
        if times:
            report["times"] = self.summary.times(binner.events, seen_us * 1e-6, self.settings.live)
        return report
