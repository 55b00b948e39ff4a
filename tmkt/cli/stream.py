"""tmkt stream: a bundle on events as they come."""

from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmkt import console
from tmkt.cli.option_groups import with_option_groups
from tmkt.cli.places import need_place
from tmkt.cli.steps import open_bundle
from tmkt.cli.stream_options import (
    EngineOptions,
    InputOptions,
    OutputOptions,
    SourceOptions,
    WindowOptions,
)
from tmkt.cli.stream_output import JsonLines, LiveTable
from tmkt.cli.stream_rule import RuleOptions
from tmkt.cli.stream_source import ending_at_ctrl_c, open_source, report_losses
from tmkt.errors import InputError

if TYPE_CHECKING:
    from tmkt.bundle import Bundle
    from tmkt.program.model import Layer

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=(
        "Example: tmkt stream bundles/nmnist recording.bin --margin auto --min-events auto --data"
        " data/nmnist"
    )
)
@with_option_groups
def stream(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    source: Annotated[
        str,
        typer.Argument(
            help="A recording of any known format, udp://HOST:PORT, or - for standard input."
        ),
    ],
    chip: EngineOptions,
    windows: WindowOptions,
    rule: RuleOptions,
    view: InputOptions,
    reading: SourceOptions,
    output: OutputOptions,
) -> None:
    """Run a bundle on a stream of events, in event time: decisions, how late they are, and what
    they cost.
    """
    from tmkt.deploy.stream.page import Page
    from tmkt.deploy.stream.run import Settings, Stream
    from tmkt.events.filters import FilterChain
    from tmkt.readers.live import is_live

    windows.check()
    view.check()
    opened = open_bundle(bundle, view.bins, view.bin_us, view.max_count)
    filters = view.filters_for(opened)
    layer = _page_layer(opened, output)
    settings = Settings(
        engine=chip.engine,
        state=windows.state,  # type: ignore[arg-type]
        window=windows.window,
        stride=windows.stride,
        rule=rule.rule(opened, windows.window),
        origin=windows.origin,  # type: ignore[arg-type]
        corner=view.corner,
        factor=view.factor,
        combine=view.combine,  # type: ignore[arg-type]
        device=None if chip.device == "none" else chip.device,
        live=is_live(source),
    )
    with (
        closing(open_source(source, opened, reading)) as events,
        ending_at_ctrl_c(events, settings.live),
    ):
        chunks = iter(events)
        first = next(chunks, None)
        if first is None:
            raise InputError(
                f"{source}: ended without an event, expected at least one; check the source"
            )
        run = Stream(opened, first.sensor, settings)
        page = None if layer is None else Page(run, layer)
        filtered = FilterChain(filters, first.sensor)
        incoming = filtered.over(chain([first], chunks))
        with JsonLines(output.times) if output.json else LiveTable(output.times) as shown:
            shown.begin(run.header(source), run.mapping.describe())
            try:
                for decision in run.decisions(page.watch(incoming) if page else incoming):
                    shown.show(decision, run.binner.origin_us or 0)
                    if page:
                        page.add(decision)
            finally:  # an interrupted stream has a summary, too
                summary = {**run.report(output.times), "repairs": events.counters.to_json()}
                shown.end(summary | ({"filters": filtered.to_json()} if filters else {}))
                if page and output.page is not None:
                    page.write(output.page, source)
                    console.note(f"{output.page}: open it in a browser")
    report_losses(source, events)


def _page_layer(bundle: "Bundle", output: OutputOptions) -> "Layer | None":
    """Choose the layer that the page shows; None without a page. InputError where the page cannot
    be written.
    """
    from tmkt.deploy.stream.page import choose_layer

    if output.page is not None:
        need_place(output.page)
        return choose_layer(bundle.program, output.page_layer)
    if output.page_layer is not None:
        raise InputError(
            f"--page-layer {output.page_layer}: without a page, expected both; add --page FILE.html"
        )
    return None
