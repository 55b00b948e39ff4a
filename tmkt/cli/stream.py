"""tmkt stream."""

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmkt import console
from tmkt.cli.options import BinsOption, BinUsOption, DataOption, MaxCountOption, need_choice
from tmkt.cli.steps import choose_recordings, need_place, open_bundle
from tmkt.errors import InputError

if TYPE_CHECKING:
    from tmkt.bundle import Bundle
    from tmkt.deploy.stream.rule import Rule
    from tmkt.readers import Source

AUTO = "auto"
app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=(
        "Example: tmkt stream bundles/nmnist recording.bin --margin auto --min-events auto --data"
        " data/nmnist"
    )
)
def stream(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    source: Annotated[
        str,
        typer.Argument(
            help="A recording of any known format, udp://HOST:PORT, or - for standard input."
        ),
    ],
    engine: Annotated[
        str, typer.Option("--engine", help="simulator or onnx: the same decisions.")
    ] = "simulator",
    state: Annotated[
        str,
        typer.Option(
            "--state", help="reset: each window from zero; carry: one state that goes on."
        ),
    ] = "reset",
    window: Annotated[
        int | None,
        typer.Option(
            "--window", min=1, help="Bins of a window [the bundle's].", show_default=False
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            "--stride",
            min=1,
            help="Bins from one window to the next [the window's; carry: 1].",
            show_default=False,
        ),
    ] = None,
    margin: Annotated[
        str | None,
        typer.Option(
            "--margin",
            help="Lead over the second class that decides; auto: chosen on --data [none].",
            show_default=False,
        ),
    ] = None,
    hold: Annotated[int, typer.Option("--hold", min=1, help="For so many bins in a row.")] = 1,
    min_events: Annotated[
        str,
        typer.Option(
            "--min-events",
            help="With fewer events in a window nothing is decided; auto: chosen on --data.",
        ),
    ] = "1",
    data: DataOption = None,
    bins: BinsOption = None,
    bin_us: BinUsOption = None,
    max_count: MaxCountOption = None,
    accuracy: Annotated[
        float,
        typer.Option(
            "--accuracy",
            min=0.0,
            max=1.0,
            help="What --margin auto reaches on recordings trained on.",
        ),
    ] = 0.99,
    crop: Annotated[
        str, typer.Option("--crop", help="Top left pixel X,Y of what the network sees, or centre.")
    ] = "centre",
    factor: Annotated[
        int | None,
        typer.Option(
            "--factor",
            min=1,
            help="Pixels a site, each way [as the sensor allows].",
            show_default=False,
        ),
    ] = None,
    combine: Annotated[
        str,
        typer.Option("--combine", help="A site's events in a bin: sum (up to max_count), or: one."),
    ] = "sum",
    origin: Annotated[
        str,
        typer.Option(
            "--origin",
            help="first: bins from the first event on; clock: at multiples of their length.",
        ),
    ] = "first",
    device: Annotated[
        str,
        typer.Option(
            "--device", help="Chip for latency and energy: loihi1, loihi2, a .toml file, or none."
        ),
    ] = "loihi1",
    sensor: Annotated[
        str | None,
        typer.Option(
            "--sensor", help="WIDTHxHEIGHT, where the source does not say it.", show_default=False
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=0.1, help="A live stream ends after so many silent seconds."),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Take what is left of a damaged recording.")
    ] = False,
    page: Annotated[
        Path | None,
        typer.Option(
            "--page",
            help="Write a page that shows events, spikes and decisions: FILE.html.",
            show_default=False,
        ),
    ] = None,
    page_layer: Annotated[
        str | None,
        typer.Option("--page-layer", help="Whose spikes it shows [the first].", show_default=False),
    ] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="JSON lines on standard output: the rules, each decision, the summary."
        ),
    ] = False,
    times: Annotated[
        bool, typer.Option("--times/--no-times", help="Show what depends on this host, too.")
    ] = True,
) -> None:
    """Run a bundle on a stream of events, in event time: decisions, how late they are, and what
    they cost.
    """
    from tmkt.cli.stream_output import JsonLines, LiveTable
    from tmkt.deploy.stream.page import Page, choose_layer
    from tmkt.deploy.stream.run import Settings, Stream
    from tmkt.readers.live import is_live

    need_choice("--state", state, ["reset", "carry"])
    need_choice("--origin", origin, ["first", "clock"])
    need_choice("--combine", combine, ["sum", "or"])
    opened = open_bundle(bundle, bins, bin_us, max_count)
    if page is not None:
        need_place(page)
        layer = choose_layer(opened.program, page_layer)
    elif page_layer is not None:
        raise InputError(
            f"--page-layer {page_layer}: without a page, expected both; add --page FILE.html"
        )
    settings = Settings(
        engine=engine,
        state=state,  # type: ignore[arg-type]
        window=window,
        stride=stride,
        rule=_rule(opened, margin, hold, min_events, window, data, accuracy),
        origin=origin,  # type: ignore[arg-type]
        corner=_corner(crop),
        factor=factor,
        combine=combine,  # type: ignore[arg-type]
        device=None if device == "none" else device,
        live=is_live(source),
    )
    with (
        closing(_open(source, opened, sensor, timeout, repair)) as events,
        _ending_at_ctrl_c(events, settings.live),
    ):
        chunks = iter(events)
        first = next(chunks, None)
        if first is None:
            raise InputError(
                f"{source}: ended without an event, expected at least one; check the source"
            )
        run = Stream(opened, first.sensor, settings)
        shown = Page(run, layer) if page is not None else None
        incoming = chain([first], chunks)
        with JsonLines(times) if json else LiveTable(times) as output:
            output.begin(run.header(source), run.mapping.describe())
            try:
                for decision in run.decisions(shown.watch(incoming) if shown else incoming):
                    output.show(decision, run.binner.origin_us or 0)
                    if shown:
                        shown.add(decision)
            finally:  # also what an interrupted stream came to
                output.end({**run.report(times), "repairs": events.counters.to_json()})
                if shown and page is not None:
                    shown.write(page, source)
                    console.note(f"{page}: open it in a browser")
    counters = events.counters
    if counters.dropped:
        console.note(
            f"{source}: {counters.dropped:,} of {counters.events + counters.dropped:,} events"
            f" dropped: {counters.reasons()}; check --sensor"
        )
    if losses := getattr(counters, "losses", lambda: "")():
        console.note(f"{source}: {losses}")


@contextmanager
def _ending_at_ctrl_c(events: "Source", live: bool) -> Iterator[None]:
    """The first Ctrl-C is how a live stream ends: what has come is still answered. The second
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


def _open(
    source: str, bundle: "Bundle", sensor: str | None, timeout: float | None, repair: bool
) -> "Source":
    """The source of events; one that does not say its sensor has the bundle's unless told."""
    from tmkt.readers import open_events, parse_sensor
    from tmkt.readers.live import is_live, open_live

    asked = None if sensor is None else parse_sensor(sensor)
    if not is_live(source):
        found = open_events(Path(source), sensor=asked, repair=repair)
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
        live = open_live(source, asked, timeout_s=timeout, repair=repair)
        console.note(f"Waiting for events from {live.name}; Ctrl-C ends the stream")
        return live
    return open_events(Path(source), sensor=asked, repair=repair)


def _corner(crop: str) -> tuple[int, int] | None:
    if crop == "centre":
        return None
    x, comma, y = crop.partition(",")
    if not (comma and x.isascii() and x.isdigit() and y.isascii() and y.isdigit()):
        raise InputError(f"--crop {crop!r}: expected X,Y in pixels, for example 120,40, or centre")
    return int(x), int(y)


def _rule(
    bundle: "Bundle",
    margin: str | None,
    hold: int,
    min_events: str,
    window: int | None,
    data: Path | None,
    accuracy: float,
) -> "Rule":
    """The rule as told; what is auto is chosen on the recordings that were trained on."""
    from tmkt.deploy.stream.calibrate import choose_margin, choose_min_events
    from tmkt.deploy.stream.rule import Rule

    lead = None if margin in (None, AUTO) else _number("--margin", margin, float)
    fewest = 1 if min_events == AUTO else int(_number("--min-events", min_events, int))
    if AUTO in (margin, min_events):
        frames, labels = _trained_on(bundle, data, window)
        if margin == AUTO:
            chosen = choose_margin(bundle.program, frames, labels, accuracy, hold)
            lead = chosen.margin
            console.note(
                f"Margin {chosen.margin:.3g}: of {len(frames)} recordings trained on"
                f" {console.percent(chosen.decided)} decided, {console.percent(chosen.accuracy)} of"
                " these right; recordings that are new are right less often"
            )
        if min_events == AUTO:
            fewest = choose_min_events(frames)
            console.note(f"At least {fewest} events: half of the fewest in a recording trained on")
    return Rule(lead, hold, fewest)


def _number(option: str, text: str | None, kind: type[int] | type[float]) -> float:
    try:
        value = kind(text or "")
    except ValueError:
        value = -1
    if not 0 <= value < 1e9 or (kind is int and value < 1):
        raise InputError(
            f"{option} {text!r}: expected"
            f" {'a whole number from 1' if kind is int else 'a number from 0'}, or {AUTO}"
        )
    return value


def _trained_on(bundle: "Bundle", data: Path | None, window: int | None) -> tuple[Any, Any]:
    """Frames, cut to the window, and labels of the recordings that the bundle's network was trained
    on.
    """
    from tmkt.datasets.reading import load_frames

    frames, labels = load_frames(
        choose_recordings(bundle, data, "train", None, "stream"), bundle.contract
    )
    return frames[:, :window], labels
