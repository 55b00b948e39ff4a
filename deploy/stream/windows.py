"""Windows of bins that are run and answered: each from zero, or with one state that goes on."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.stream.engines import StepEngine
from tmkt.deploy.stream.rule import Readout, Rule, RuleState, leading_class
from tmkt.errors import InputError
from tmkt.events.binning import Bin
from tmkt.program.model import Program
from tmkt.program.readout import readout_adds_up

# Windows without any event after which a carried state starts anew. The number is ours; without
# one, a stamp far ahead would ask for steps without end.
RESTART = 10


@dataclass(frozen=True)
class Answer:
    """Answer of a window. Bins count from the stream's first.

    The window is `begin`..`last`, and its read-out was taken after `last`. `best` leads by `margin`
    (in the program's integers). `confident`: the rule is met. `events` is the number in the window.
    `frames` uint8 [n, 2, H, W] and `spikes` [n, *shape] are the steps that ran for this answer and
    for none before it. `behind`: how many of these steps a chip has still to run once the last bin
    is complete.
    """

    begin: int
    last: int
    best: int
    margin: int
    confident: bool
    events: int
    frames: NDArray[np.uint8]
    spikes: dict[str, NDArray[np.uint8]]
    behind: int


class Windows(Protocol):
    """Windows over complete bins, which come in order. `steps_run` counts the engine's steps,
    `restarts` those of a carried state.
    """

    steps_run: int
    restarts: int

    def push(self, bin_: Bin) -> Iterator[Answer]:
        """Yield the answers that are due after this bin and the empty ones before it."""
        ...

    def end(self) -> Iterator[Answer]:
        """Yield the answers that are due when the stream is over."""
        ...


@dataclass(frozen=True)
class WindowShape:
    """Length of a window, and bins from the begin of one to the begin of the next."""

    length: int
    stride: int


class _Reading(NamedTuple):
    """Read-out of a window after one bin."""

    best: int
    margin: int
    confident: bool


@dataclass
class _UnansweredSteps:
    """Steps that ran and were not given with an answer yet."""

    frames: list[NDArray[np.uint8]] = field(default_factory=list)
    spikes: list[dict[str, NDArray[np.uint8]]] = field(default_factory=list)

    def add(self, frame: NDArray[np.uint8], spikes: dict[str, NDArray[np.uint8]]) -> None:
        self.frames.append(frame)
        self.spikes.append(spikes)

    def take(self) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.uint8]]]:
        frames = np.stack(self.frames)
        spikes = {name: np.stack([step[name] for step in self.spikes]) for name in self.spikes[0]}
        self.frames, self.spikes = [], []
        return frames, spikes


@dataclass
class _OpenWindow:
    begin: int
    rule: RuleState
    state: Any
    events: int = 0
    readout: NDArray[np.int64] | int = 0
    steps: _UnansweredSteps = field(default_factory=_UnansweredSteps)


class ResetWindows:
    """Windows that begin at every multiple of the stride, each from states of zero, as a recording
    is run.

    A window answers once: as soon as the rule is met, and then it runs no further; else at its last
    bin. A window without any event is not run. What the stream's end cuts off is filled with empty
    bins, as the end of a recording is.
    """

    def __init__(
        self, engine: StepEngine, program: Program, shape: WindowShape, rule: Rule
    ) -> None:
        self.engine, self.program, self.rule = engine, program, rule
        self.length, self.stride = shape.length, shape.stride
        self.steps_run, self.restarts = 0, 0
        self._open: list[_OpenWindow] = []
        self._next = 0  # the next bin to run
        self._started = -self.stride  # the last window's first bin
        self._empty = np.zeros(program.input_shape, np.uint8)

    def push(self, bin_: Bin) -> Iterator[Answer]:
        yield from self._run_empty_bins(bin_.index)
        if bin_.events:
            self._open_windows(bin_.index)
        yield from self._run(bin_.index, bin_.frame, bin_.events)
        self._next = bin_.index + 1

    def end(self) -> Iterator[Answer]:
        yield from self._run_empty_bins(self._next + self.length)

    def _run_empty_bins(self, until: int) -> Iterator[Answer]:
        """Run the empty bins before `until`, as long as a window is open."""
        for index in range(self._next, until):
            if not self._open:
                break
            yield from self._run(index, self._empty, 0)
        self._next = until

    def _open_windows(self, index: int) -> None:
        """Open the windows whose first events are in this bin; run their empty bins before it."""
        earliest = -(-(index - self.length + 1) // self.stride) * self.stride  # that holds the bin
        first = max(self._started + self.stride, earliest, 0)
        for begin in range(first, index + 1, self.stride):
            window = _OpenWindow(
                begin, RuleState(self.rule, self.program), self.engine.zero_state()
            )
            for _ in range(begin, index):
                self._step(window, self._empty, 0)
            self._open.append(window)
            self._started = begin

    def _step(self, window: _OpenWindow, frame: NDArray[np.uint8], events: int) -> _Reading:
        done = self.engine.step(frame, window.state)
        self.steps_run += 1
        window.state, window.events = done.state, window.events + events
        if self.program.readout == "spikes":
            window.readout = done.readout + window.readout
        else:
            window.readout = done.readout  # a membrane adds up by itself
        window.steps.add(frame, done.spikes)
        best, margin = leading_class(window.readout)
        confident = window.rule.confident(window.readout, best, margin, window.events)
        return _Reading(best, margin, confident)

    def _run(self, index: int, frame: NDArray[np.uint8], events: int) -> Iterator[Answer]:
        for window in list(self._open):
            reading = self._step(window, frame, events)
            at_end = index == window.begin + self.length - 1
            early = reading.confident and self.rule.margin is not None
            if at_end or early:
                self._open.remove(window)
                frames, spikes = window.steps.take()
                overlapping = self.stride < self.length
                yield Answer(
                    begin=window.begin,
                    last=index,
                    best=reading.best,
                    margin=reading.margin,
                    confident=reading.confident,
                    events=window.events,
                    frames=frames,
                    spikes=spikes,
                    behind=len(frames) if overlapping else 1,  # a chip holds one window at a time
                )


class CarriedState:
    """One state from the first bin on. The read-out is what the last `length` bins added to it, and
    it is looked at every `stride` bins.

    The read-out's own membrane would grow until it saturates. So it starts each bin at zero, and
    what the bins give is added up here: exactly the difference of the membrane over the last bins,
    for a read-out that neither leaks nor has a current. Others are refused. The first answer is due
    after `length` bins. After RESTART windows without any event the state starts anew.
    """

    def __init__(
        self, engine: StepEngine, program: Program, shape: WindowShape, rule: Rule
    ) -> None:
        if not readout_adds_up(program):
            last = program.layers[-1]
            raise InputError(
                f"layer {last.name!r}: a read-out with voltage decay {last.voltage_decay} and"
                f" current decay {last.current_decay} forgets by itself, carried state expects one"
                " that adds up (0 and 4096) or counts spikes; use --state reset"
            )
        self.engine, self.program, self.rule = engine, program, rule
        self.length, self.stride = shape.length, shape.stride
        self.steps_run, self.restarts = 0, 0
        self._empty = np.zeros(program.input_shape, np.uint8)
        self._next = 0
        self._begin(0)

    def _begin(self, index: int) -> None:
        self._first, self._state = index, self.engine.zero_state()
        self._rule, self._steps = RuleState(self.rule, self.program), _UnansweredSteps()
        self._readouts: deque[NDArray[np.int64]] = deque(maxlen=self.length)
        self._events: deque[int] = deque(maxlen=self.length)

    def push(self, bin_: Bin) -> Iterator[Answer]:
        if bin_.index - self._next > RESTART * self.length:
            self.restarts += 1
            self._begin(bin_.index)
            self._next = bin_.index
        for index in range(self._next, bin_.index):
            yield from self._run(index, self._empty, 0)
        yield from self._run(bin_.index, bin_.frame, bin_.events)
        self._next = bin_.index + 1

    def end(self) -> Iterator[Answer]:
        """Yield nothing: all bins were run, and there is nothing to fill."""
        return iter(())

    def _run(self, index: int, frame: NDArray[np.uint8], events: int) -> Iterator[Answer]:
        done = self.engine.step(frame, self._state)
        self.steps_run += 1
        self._state = self.engine.reset_readout(done.state)
        self._readouts.append(done.readout)
        self._events.append(events)
        self._steps.add(frame, done.spikes)
        readout: Readout = np.sum(list(self._readouts), axis=0, dtype=np.int64)
        best, margin = leading_class(readout)
        in_window = sum(self._events)
        confident = self._rule.confident(readout, best, margin, in_window)
        window_is_full = index + 1 - self._first >= self.length
        if window_is_full and (index + 1) % self.stride == 0:
            frames, spikes = self._steps.take()
            yield Answer(
                begin=index + 1 - self.length,
                last=index,
                best=best,
                margin=margin,
                confident=confident,
                events=in_window,
                frames=frames,
                spikes=spikes,
                behind=1,
            )
