"""Page that shows a stream: events as they come, spikes of a layer, decisions over time; one HTML
file that needs nothing else.
"""

import json
import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.stream.decision import Decision
from tmkt.deploy.stream.run import Stream
from tmkt.errors import InputError, nearest
from tmkt.events.types import Events
from tmkt.files import writing
from tmkt.program.model import Layer, Program

# Bytes of compressed arrays, 4 MB as text: with the rest a page stays below 5 MB.
MOST_PACKED = 3_000_000
MOST_DECISIONS = 5_000
MOST_STEPS = 20_000
SLICE = 4096  # events that are packed at once
LONGEST_US = 2**32 - 1  # longest stream whose stamps an array of 32-bit steps can hold
ARRAYS = ("t", "x", "y", "p", "spikes")


def choose_layer(program: Program, name: str | None) -> Layer:
    """Find the layer whose spikes are shown; None: the first that fires.

    InputError for a name that no firing layer has.
    """
    firing = {layer.name: layer for layer in program.layers if layer.fires}
    if name is None and firing:
        return next(iter(firing.values()))
    if name not in firing:
        hint = nearest(name, list(firing)) if name else ""
        raise InputError(
            f"layer {name!r}: has no spikes to show, expected one of"
            f" {', '.join(firing) or '(none fires)'}{hint}; change --page-layer"
        )
    return firing[name]


class Page:
    """Collects what the page shows, from the stream's beginning until the page is full. Memory does
    not grow beyond that.

    Pass the stream's chunks through `watch` and each decision to `add`, then `write`.
    """

    def __init__(self, stream: Stream, layer: Layer) -> None:
        self.stream, self.layer = stream, layer
        self._packers = {name: zlib.compressobj(6) for name in ARRAYS}
        self._packed: dict[str, list[bytes]] = {name: [] for name in ARRAYS}
        self._size = 0
        self._first_us: int | None = None
        self._last_us = self._events = 0
        self._decisions: list[dict[str, Any]] = []
        self._step_bins: list[int] = []
        self._full = False

    def watch(self, chunks: Iterable[Events]) -> Iterator[Events]:
        """Yield the same chunks, and keep their events."""
        for events in chunks:
            for i in range(0, len(events), SLICE):
                if self._full:
                    break
                self._keep(*(getattr(events, name)[i : i + SLICE] for name in "txyp"))
            yield events

    def _keep(
        self,
        t: NDArray[np.int64],
        x: NDArray[np.uint16],
        y: NDArray[np.uint16],
        p: NDArray[np.uint8],
    ) -> None:
        if self._first_us is None:
            self._first_us = self._last_us = int(t[0])
        if int(t[-1]) - self._first_us > LONGEST_US:
            self._full = True
            return
        self._pack("t", np.diff(t, prepend=self._last_us).astype("<u4"))
        self._pack("x", x.astype("<u2"))
        self._pack("y", y.astype("<u2"))
        self._pack("p", p)
        self._last_us = int(t[-1])
        self._events += len(t)

    def _pack(self, name: str, array: NDArray[Any]) -> None:
        block = self._packers[name].compress(array.tobytes())
        self._packed[name].append(block)
        self._size += len(block)
        self._full = self._full or self._size > MOST_PACKED

    def add(self, decision: Decision) -> None:
        """Keep a decision, with the spikes of the steps that ran for it."""
        if self._full:
            return
        if len(self._decisions) >= MOST_DECISIONS or len(self._step_bins) >= MOST_STEPS:
            self._full = True
            return
        assert self._first_us is not None
        answer, classes = decision.answer, self.stream.bundle.classes
        spikes = answer.spikes[self.layer.name].astype(bool)
        self._pack("spikes", np.packbits(spikes.reshape(len(spikes), -1), axis=1))
        self._step_bins += range(answer.last + 1 - len(spikes), answer.last + 1)
        self._decisions.append(
            {
                "time_us": decision.time_us - self._first_us,
                "begin_us": max(0, decision.window_us[0] - self._first_us),
                "best": classes.index(decision.best),
                "decided": decision.decided is not None,
                "margin": round(decision.margin, 2),
                "bins": decision.bins,
                "events": answer.events,
            }
        )

    def write(self, path: Path, source: str) -> None:
        """Write the page; `source` is the stream's name. The same stream gives the same bytes."""
        stream, mapping, first = self.stream, self.stream.mapping, self._first_us or 0
        origin = first if stream.binner.origin_us is None else stream.binner.origin_us
        end = max([self._last_us - first, *(d["time_us"] for d in self._decisions)], default=0) + 1
        rows, columns = mapping.input
        shape = self.layer.shape if len(self.layer.shape) == 3 else (1, 1, self.layer.neurons)
        data = {
            "title": f"{stream.bundle.path.name} on {source}",
            "rule": self._describe_rule(),
            "cut": self._describe_cut(),
            "sensor": mapping.sensor,
            "box": [mapping.left, mapping.top, mapping.factor * columns, mapping.factor * rows],
            "bin_us": stream.bundle.contract.bin_us,
            "window_us": stream.window * stream.bundle.contract.bin_us,
            "origin_us": origin - first,
            "end_us": end,
            "classes": stream.bundle.classes,
            "layer": self.layer.name,
            "layer_shape": shape,
            "decisions": self._decisions,
            "step_bins": self._step_bins,
            "arrays": {name: self._packed_text(name) for name in ARRAYS},
        }
        template = Template((files("tmkt.deploy.stream") / "page.html").read_text(encoding="utf-8"))
        drawing = (files("tmkt.deploy.report.templates") / "drawing.js").read_text(encoding="utf-8")
        # "<" is escaped, so that no name ends the script.
        text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
        with writing(path) as beside:
            beside.write_text(
                template.substitute(DATA=text, DRAWING=drawing), encoding="utf-8", newline="\n"
            )

    def _packed_text(self, name: str) -> str:
        packed = b"".join(self._packed[name]) + self._packers[name].flush()
        return b64encode(packed).decode("ascii")

    def _describe_rule(self) -> str:
        stream, rule = self.stream, self.stream.settings.rule
        bin_ms = stream.bundle.contract.bin_us / 1e3
        decides = "at its end"
        if rule.margin is not None:
            decides = f"at a margin of {rule.margin:.3g}, held for {rule.hold} of them"
        return (
            f"{stream.mapping.describe()}. Windows of {stream.window} bins of {bin_ms:g} ms, every"
            f" {stream.stride}, state {stream.settings.state}; a window decides {decides}, with"
            f" {rule.min_events} events or more."
        )

    def _describe_cut(self) -> str:
        if not self._full:
            return ""
        return (
            f"The page is full: it shows the first {self._events:,} events and"
            f" {len(self._decisions):,} decisions."
        )
