"""From bins to answers: windows that start from zero, or one state that is carried on."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.stream.rule import Rule, Watch, adds_up, leader
from tmkt.deploy.stream.steps import Steps
from tmkt.errors import InputError
from tmkt.events.binning import Bin
from tmkt.program.model import Program

# windows without any event after which a carried state starts anew: ours; no stamp may ask for
# steps without end
RESTART = 10


@dataclass(frozen=True)
class Answer:
    """What a window says. Bins count from the stream's first.

    The window is `begin`..`last`, its read-out was taken after `last`. `best` leads by `margin` (in
    the program's integers); `confident`: by the rule. `events` in the window. `frames` uint8 [n, 2,
    H, W] and `spikes` [n, *shape]: the steps that ran for this answer and for none before it.
    `behind`: how many of them a chip has still to run once the last bin is complete.
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


class Tracker(Protocol):
    """Takes complete bins in order. `steps_run`: of the engine, `restarts`: of a carried state."""

    steps_run: int
    restarts: int

    def push(self, bin_: Bin) -> Iterator[Answer]:
        """The answers that are due once this bin, and the empty ones before it, have passed."""
        ...

    def end(self) -> Iterator[Answer]:
        """The answers that are due when the stream is over."""
        ...


@dataclass
class _Steps:
    """Steps that ran and were not given with an answer yet."""

    frames: list[NDArray[np.uint8]] = field(default_factory=list)
    spikes: list[dict[str, NDArray[np.uint8]]] = field(default_factory=list)

    def add(self, frame: NDArray[np.uint8], spikes: dict[str, NDArray[np.uint8]]) -> None:
        self.frames.append(frame)
        self.spikes.append(spikes)

    def take(self) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.uint8]]]:
        frames, spikes = (
            np.stack(self.frames),
            {name: np.stack([step[name] for step in self.spikes]) for name in self.spikes[0]},
        )
        self.frames, self.spikes = [], []
        return frames, spikes


@dataclass
class _Window:
    begin: int
    watch: Watch
    state: Any
    events: int = 0
    total: NDArray[np.int64] | int = 0
    ran: _Steps = field(default_factory=_Steps)


class Windows:
    """Windows of `length` bins that begin at every multiple of `stride`, each from states of zero,
    as a recording is run.

    A window answers once: as soon as the rule is confident, then it runs no further; else at its
    last bin. A window without any event is not run. What the stream's end cuts off is filled with
    empty bins, as the end of a recording is.
    """

    def __init__(
        self, steps: Steps, program: Program, length: int, stride: int, rule: Rule
    ) -> None:
        self.steps, self.program, self.length, self.stride, self.rule = (
            steps,
            program,
            length,
            stride,
            rule,
        )
        self.steps_run, self.restarts = 0, 0
        self._open: list[_Window] = []
        self._next = 0  # the next bin to run
        self._started = -stride  # the last window's first bin
        self._empty = np.zeros(program.input_shape, np.uint8)

    def push(self, bin_: Bin) -> Iterator[Answer]:
        yield from self._pass(bin_.index)
        if bin_.events:
            self._start(bin_.index)
        yield from self._run(bin_.index, bin_.frame, bin_.events)
        self._next = bin_.index + 1

    def end(self) -> Iterator[Answer]:
        yield from self._pass(self._next + self.length)

    def _pass(self, until: int) -> Iterator[Answer]:
        """Runs the empty bins before `until`, as far as there is a window that they belong to."""
        for index in range(self._next, until):
            if not self._open:
                break
            yield from self._run(index, self._empty, 0)
        self._next = until

    def _start(self, index: int) -> None:
        """Opens the windows that this bin is the first with events of; their empty bins before it
        are run.
        """
        first = max(
            self._started + self.stride, -(-(index - self.length + 1) // self.stride) * self.stride
        )
        for begin in range(max(first, 0), index + 1, self.stride):
            window = _Window(begin, Watch(self.rule, self.program), self.steps.start())
            for _ in range(begin, index):
                self._step(window, self._empty, 0)
            self._open.append(window)
            self._started = begin

    def _step(
        self, window: _Window, frame: NDArray[np.uint8], events: int
    ) -> tuple[int, int, bool]:
        done = self.steps.step(frame, window.state)
        self.steps_run += 1
        window.state, window.events = done.state, window.events + events
        window.total = (
            done.readout + window.total if self.program.readout == "spikes" else done.readout
        )  # a membrane adds up by itself
        window.ran.add(frame, done.spikes)
        best, margin = leader(window.total)
        return best, margin, window.watch.confident(best, margin, window.events)

    def _run(self, index: int, frame: NDArray[np.uint8], events: int) -> Iterator[Answer]:
        for window in list(self._open):
            best, margin, confident = self._step(window, frame, events)
            ends = index == window.begin + self.length - 1
            if ends or (confident and self.rule.margin is not None):
                self._open.remove(window)
                frames, spikes = window.ran.take()
                behind = (
                    len(frames) if self.stride < self.length else 1
                )  # one chip holds one window at a time
                yield Answer(
                    window.begin,
                    index,
                    best,
                    margin,
                    confident,
                    window.events,
                    frames,
                    spikes,
                    behind,
                )


class Carried:
    """One state from the first bin on. The read-out is what the last `length` bins added to it, and
    it is looked at every `stride` bins.

    The read-out's own membrane would grow until it saturates, so it starts each bin at zero, and
    what the bins give is added up here: the difference of the membrane over the last bins, exactly,
    for a read-out that neither leaks nor has a current; others are refused. The first answer is due
    after `length` bins. After RESTART windows without any event the state starts anew.
    """

    def __init__(
        self, steps: Steps, program: Program, length: int, stride: int, rule: Rule
    ) -> None:
        if not adds_up(program):
            last = program.layers[-1]
            raise InputError(
                f"layer {last.name!r}: a read-out with voltage decay {last.voltage_decay} and"
                f" current decay {last.current_decay} forgets by itself, carried state expects one"
                " that adds up (0 and 4096) or counts spikes; use --state reset"
            )
        self.steps, self.program, self.length, self.stride, self.rule = (
            steps,
            program,
            length,
            stride,
            rule,
        )
        self.steps_run, self.restarts = 0, 0
        self._empty = np.zeros(program.input_shape, np.uint8)
        self._next = 0
        self._begin(0)

    def _begin(self, index: int) -> None:
        self._first, self._state, self._watch, self._ran = (
            index,
            self.steps.start(),
            Watch(self.rule, self.program),
            _Steps(),
        )
        self._given: deque[NDArray[np.int64]] = deque(maxlen=self.length)
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
        """The last bins were run; there is nothing to fill."""
        return iter(())

    def _run(self, index: int, frame: NDArray[np.uint8], events: int) -> Iterator[Answer]:
        done = self.steps.step(frame, self._state)
        self.steps_run += 1
        self._state = self.steps.without_readout(done.state)
        self._given.append(done.readout)
        self._events.append(events)
        self._ran.add(frame, done.spikes)
        best, margin = leader(np.sum(list(self._given), axis=0, dtype=np.int64))
        in_window = sum(self._events)
        confident = self._watch.confident(best, margin, in_window)
        if index + 1 - self._first >= self.length and (index + 1) % self.stride == 0:
            frames, spikes = self._ran.take()
            yield Answer(
                index + 1 - self.length,
                index,
                best,
                margin,
                confident,
                in_window,
                frames,
                spikes,
                behind=1,
            )
