"""Source of the events that `tmkt stream` runs on: a recording, UDP or standard input."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tmkt import console
from tmkt.cli.reader_options import columns_of, unit_of
from tmkt.cli.stream_options import SourceOptions
from tmkt.errors import InputError

if TYPE_CHECKING:
    from tmkt.bundle import Bundle
    from tmkt.events.channels import ChannelContract
    from tmkt.readers import FileSource, Source


def open_source(source: str, bundle: "Bundle", options: SourceOptions) -> "Source":
    """Open a source of events.

    A recording has the sensor that its file, or else its camera.toml, says. One that is not said
    has the bundle's, unless the options say another. Raises InputError for a recording whose events
    do not fit the sensor that was said or taken for it, before any is answered.
    """
    from tmkt.events.frames import InputContract
    from tmkt.readers import parse_sensor
    from tmkt.readers.live import is_live, open_live

    if not isinstance(bundle.contract, InputContract):
        return _open_channels(source, bundle.contract, options)
    asked = None if options.sensor is None else parse_sensor(options.sensor)
    if not is_live(source):
        return _open_file(Path(source), asked, bundle, options)
    live = open_live(
        source,
        asked or _bundles_sensor(source, bundle),
        timeout_s=options.timeout,
        repair=options.repair,
        columns=columns_of(options.columns),
        time_unit=unit_of(options.time_unit),
    )
    console.note(f"Waiting for events from {live.name}; Ctrl-C ends the stream")
    return live


def _open_channels(source: str, contract: "ChannelContract", options: SourceOptions) -> "Source":
    """Read spikes of channels, lines of a time and a channel, from standard input."""
    from tmkt.readers.live import STDIN, open_live
    from tmkt.readers.text_layout import CHANNELS

    if source != STDIN:
        raise InputError(
            f"{source}: the network reads channels of spikes, expected - (standard input, lines"
            " t,channel); pipe them there, or use tmkt evaluate for files of spike trains"
        )
    if options.sensor is not None or options.columns is not None:
        raise InputError(
            f"{source}: --sensor or --columns given, which are of a camera, expected neither for"
            " channels; leave them out"
        )
    return open_live(
        source,
        (1, contract.channels),
        timeout_s=options.timeout,
        repair=options.repair,
        columns=CHANNELS,
        time_unit=unit_of(options.time_unit),
    )


def _bundles_sensor(source: object, bundle: "Bundle") -> tuple[int, int]:
    """Give the size of the camera that a bundle was made for, else of its input, and say so."""
    data = bundle.manifest["origin"].get("recipe", {}).get("data", {})
    height, width = bundle.camera.sensor
    if data.get("camera_width") and data.get("camera_height"):
        height, width = data["camera_height"], data["camera_width"]
    console.note(
        f"{source}: does not say its sensor, taken for the bundle's, {width}x{height}; else add"
        " --sensor"
    )
    return height, width


def _open_file(
    path: Path, asked: tuple[int, int] | None, bundle: "Bundle", options: SourceOptions
) -> "Source":
    from tmkt.readers.camera_file import open_recording

    def opened() -> "FileSource":
        return open_recording(
            path,
            sensor=asked,
            repair=options.repair,
            columns=columns_of(options.columns),
            time_unit=unit_of(options.time_unit),
        )

    found = opened()
    for note in found.notes:
        console.note(f"{path}: {note}")
    if found.tells_sensor:
        return found
    sensor = found.sensor or _bundles_sensor(path, bundle)
    if not options.repair:
        _need_inside(path, found, sensor)
    found.close()
    again = opened()
    again.sensor = sensor
    return again


def _need_inside(path: Path, source: "FileSource", sensor: tuple[int, int]) -> None:
    """Raise InputError where more than 1 % of a recording's events lie outside a sensor that its
    file does not say itself.
    """
    from tmkt.readers.source import LARGEST_SIDE, MAX_DROPPED

    outside = total = x = y = 0
    with suppress(InputError):  # other damage is for the stream to say
        for events in source.chunks((LARGEST_SIDE, LARGEST_SIDE)):
            total += len(events)
            outside += int(((events.x >= sensor[1]) | (events.y >= sensor[0])).sum())
            x, y = max(x, int(events.x.max())), max(y, int(events.y.max()))
    if outside > MAX_DROPPED * total:
        raise InputError(
            f"{path}: {outside} of {total} events lie outside a sensor of {sensor[1]}x{sensor[0]}"
            f" (x up to {x}, y up to {y}); say the camera's size with --sensor WIDTHxHEIGHT, or in"
            " a camera.toml beside it with the lines: width = 640, height = 480"
        )


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
