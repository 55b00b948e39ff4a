"""Run a bundle on a stream of events: decisions with their latency and cost."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from tmkt.bundle import Bundle
from tmkt.deploy.stream.costs import ChipCosts
from tmkt.deploy.stream.decision import Decision
from tmkt.deploy.stream.engines import open_step_engine
from tmkt.deploy.stream.rule import Rule
from tmkt.deploy.stream.summary import Summary
from tmkt.deploy.stream.windows import Answer, CarriedState, ResetWindows, Windows, WindowShape
from tmkt.errors import InputError
from tmkt.events.binning import Binner, Origin
from tmkt.events.channels import Contract
from tmkt.events.frames import InputContract
from tmkt.events.mapping import Combine, Mapping, channel_mapping, choose_mapping
from tmkt.events.types import Events
from tmkt.kernels import working_time_s
from tmkt.program.readout import margin_unit

State = Literal["reset", "carry"]
# Windows that are open at once. The number is ours: it keeps a stream of long windows and short
# strides within memory.
MOST_WINDOWS = 100


@dataclass(frozen=True)
class Settings:
    """Options of a stream; docs/streams-reference.md states every rule.

    `window` and `stride` are in bins. None: the bundle's number of bins, and as many as the window
    (carried state: 1). `device` None: no costs on a chip. `live`: the source waits for its events;
    it has none in stock.
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


def _mapping(contract: Contract, sensor: tuple[int, int], settings: Settings) -> Mapping:
    if isinstance(contract, InputContract):
        view = (settings.corner, settings.factor, settings.combine)
        return choose_mapping(sensor, contract, *view)
    if settings.corner is not None or settings.factor is not None:
        raise InputError(
            "--crop or --factor given, which are of a camera's pixels, expected neither for"
            " channels; leave them out"
        )
    return channel_mapping(contract, settings.combine)


class Stream:
    """Runs a bundle on one stream; use it once.

    InputError for settings that do not fit the bundle or the sensor.
    """

    def __init__(self, bundle: Bundle, sensor: tuple[int, int], settings: Settings) -> None:
        program, contract = bundle.program, bundle.contract
        rule = replace(settings.rule, nothing=bundle.nothing)
        self.bundle, self.settings = bundle, replace(settings, rule=rule)
        self.window = contract.bins if settings.window is None else settings.window
        self.stride = settings.stride or (1 if settings.state == "carry" else self.window)
        if self.window > self.stride * MOST_WINDOWS and settings.state == "reset":
            raise InputError(
                f"windows of {self.window} bins every {self.stride}, expected at most"
                f" {MOST_WINDOWS} at a time; lengthen --stride"
            )
        self.mapping = _mapping(contract, sensor, settings)
        self.binner = Binner(self.mapping, contract.bin_us, settings.origin, contract.shape)
        self.engine = open_step_engine(settings.engine, bundle)
        windows = ResetWindows if settings.state == "reset" else CarriedState
        shape = WindowShape(self.window, self.stride)
        self.windows: Windows = windows(self.engine, program, shape, rule)
        self.costs = None if settings.device is None else ChipCosts(bundle, settings.device)
        self.summary = Summary(bundle.classes, bundle.nothing)
        self._warm_up()

    def _warm_up(self) -> None:
        """Run one step and compute its costs: what runs first is compiled or loaded, and that must
        not make the first decisions late.
        """
        frame = np.zeros(self.bundle.program.input_shape, np.uint8)
        spikes = self.engine.step(frame, self.engine.zero_state()).spikes
        if self.costs is not None:
            answer = Answer(
                begin=0,
                last=0,
                best=0,
                margin=0,
                confident=False,
                events=0,
                frames=frame[None],
                spikes={name: array[None] for name, array in spikes.items()},
                behind=1,
            )
            self.costs.cost_of(answer)

    def decisions(self, chunks: Iterable[Events]) -> Iterator[Decision]:
        """Yield the decisions, one by one, as the events come. Where the network says that there is
        nothing, there is none.
        """
        began = ready = working_time_s()
        for events in chunks:
            arrived = working_time_s()
            for bin_ in self.binner.push(events):
                # A file's own backlog is not lateness.
                available = arrived if self.settings.live else max(arrived, ready)
                yield from self._decide(self.windows.push(bin_), available)
                ready = working_time_s()
            self.summary.elapsed_s = ready - began
        for bin_ in self.binner.end():
            yield from self._decide(self.windows.push(bin_), working_time_s())
        yield from self._decide(self.windows.end(), working_time_s())
        self.summary.elapsed_s = working_time_s() - began

    def _decide(self, answers: Iterator[Answer], available: float) -> Iterator[Decision]:
        for answer in answers:
            answered = working_time_s()
            end_us = self.binner.time_us(answer.last + 1)
            decision = Decision(
                number=self.summary.answers,
                answer=answer,
                time_us=end_us,
                window_us=(self.binner.time_us(answer.begin), end_us),
                best=self.bundle.classes[answer.best],
                margin=answer.margin / margin_unit(self.bundle.program),
                cost=None if self.costs is None else self.costs.cost_of(answer),
                host_us=1e6 * (answered - available),
            )
            self.summary.add(decision.decided, decision.host_us, decision.cost, len(answer.frames))
            if answer.best == self.bundle.nothing:
                self.summary.count_nothing()
            else:
                yield decision
            # The time that was spent on this answer does not make the next one of this bin late.
            available += working_time_s() - answered

    def header(self, name: str) -> dict[str, Any]:
        """Return what is run, and by which rules, for the JSON output."""
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
        """Return the summary so far."""
        binner = self.binner
        seen_us = 0 if binner.origin_us is None else binner.last_us - binner.origin_us
        report = {
            "events": binner.events,
            "events_outside_crop": binner.unseen,
            "duration_s": seen_us * 1e-6,
            "steps": self.windows.steps_run,
            "restarts": self.windows.restarts,
            "faults": self.engine.faults,
            **self.summary.to_json(),
        }
        if self.costs is not None:
            report["chip"] = self.summary.chip(self.costs, seen_us, self.windows.steps_run)
        if times:
            report["times"] = self.summary.times(binner.events, seen_us * 1e-6, self.settings.live)
        return report
