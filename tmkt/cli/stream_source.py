"""Source of the events that `tmkt stream` runs on: a recording, UDP or standard input."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tmkt import console
from tmkt.cli.stream_options import SourceOptions

if TYPE_CHECKING:
    from tmkt.bundle import Bundle
    from tmkt.readers import Source


def open_source(source: str, bundle: "Bundle", options: SourceOptions) -> "Source":
    """Open a source of events. One that does not say its sensor has the bundle's, unless the
    options say another.
    """
    from tmkt.readers import open_events, parse_sensor
    from tmkt.readers.live import is_live, open_live

    asked = None if options.sensor is None else parse_sensor(options.sensor)
    if not is_live(source):
        found = open_events(Path(source), sensor=asked, repair=options.repair)
        if found.sensor is not None:
            return found
        found.close()
    if asked is None:
        height, width = asked = bundle.contract.sensor
        console.note(
            f"{source}: does not say its sensor, taken for the bundle's, {width}x{height}; else add"
            " --sensor"
        )
    if is_live(source):
        live = open_live(source, asked, timeout_s=options.timeout, repair=options.repair)
        console.note(f"Waiting for events from {live.name}; Ctrl-C ends the stream")
        return live
    return open_events(Path(source), sensor=asked, repair=options.repair)


@contextmanager
def ending_at_ctrl_c(events: "Source", live: bool) -> Iterator[None]:
    """End a live stream at the first Ctrl-C: what has come is still answered. The second one
    interrupts.
    """
    if not live:
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def end(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        events.close()

    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def report_losses(source: str, events: "Source") -> None:
    """Say which events were dropped or lost. Exits with 1 where most of them were lost."""
    from tmkt.readers.udp import MOST_LOST, LiveCounters

    counters = events.counters
    if counters.dropped:
        console.note(
            f"{source}: {counters.dropped:,} of {counters.events + counters.dropped:,} events"
            f" dropped: {counters.reasons()}; {counters.advice() or 'check the source'}"
        )
    if not isinstance(counters, LiveCounters) or not counters.losses():
        return
    if counters.lost_share > MOST_LOST:
        console.error(
            f"{source}: {100 * counters.lost_share:.3f} % of the packets lost, expected at most"
            f" {100 * MOST_LOST:g} % ({counters.losses()}); the answers are not those of the scene:"
            " send more slowly, or choose larger bins or another engine"
        )
        raise typer.Exit(1)
    console.note(f"{source}: {counters.losses()}")
