"""Options of `tmkt stream`, in groups, and what they mean."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmkt.cli.options import (
    FILTERS,
    BinsOption,
    BinUsOption,
    MaxCountOption,
    need_choice,
)
from tmkt.cli.reader_options import ColumnsOption, SensorOption, UnitOption
from tmkt.errors import InputError

if TYPE_CHECKING:
    from tmkt.bundle import Bundle
    from tmkt.events.filters import Filter

NONE = "none"  # of filters
PIXEL = re.compile(r"([0-9]{1,9}),([0-9]{1,9})")


@dataclass(frozen=True)
class EngineOptions:
    """Engine that decides, and chip whose cost is estimated."""

    engine: Annotated[
        str, typer.Option("--engine", help="simulator or onnx: the same decisions.")
    ] = "simulator"
    device: Annotated[
        str,
        typer.Option(
            "--device", help="Chip for latency and energy: loihi1, loihi2, a .toml file, or none."
        ),
    ] = "loihi1"


@dataclass(frozen=True)
class WindowOptions:
    """Windows of bins, and the state that they start from."""

    state: Annotated[
        str,
        typer.Option(
            "--state", help="reset: each window from zero; carry: one state that goes on."
        ),
    ] = "reset"
    window: Annotated[
        int | None,
        typer.Option(
            "--window", min=1, help="Bins of a window [the bundle's].", show_default=False
        ),
    ] = None
    stride: Annotated[
        int | None,
        typer.Option(
            "--stride",
            min=1,
            help="Bins from one window to the next [the window's; carry: 1].",
            show_default=False,
        ),
    ] = None
    origin: Annotated[
        str,
        typer.Option(
            "--origin",
            help="first: bins from the first event on; clock: at multiples of their length.",
        ),
    ] = "first"

    def check(self) -> None:
        """Raise InputError for a name that is not known."""
        need_choice("--state", self.state, ["reset", "carry"])
        need_choice("--origin", self.origin, ["first", "clock"])


@dataclass(frozen=True)
class InputOptions:
    """Mapping of the sensor to the network's input, and the input's bins."""

    bins: BinsOption = None
    bin_us: BinUsOption = None
    max_count: MaxCountOption = None
    crop: Annotated[
        str, typer.Option("--crop", help="Top left pixel X,Y of what the network sees, or centre.")
    ] = "centre"
    factor: Annotated[
        int | None,
        typer.Option(
            "--factor",
            min=1,
            help="Pixels a site, each way [as the sensor allows].",
            show_default=False,
        ),
    ] = None
    combine: Annotated[
        str,
        typer.Option("--combine", help="A site's events in a bin: sum (up to max_count), or: one."),
    ] = "sum"
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter", help=f"{FILTERS}; none: no filter [the bundle's].", show_default=False
        ),
    ] = None

    def check(self) -> None:
        """Raise InputError for a name that is not known."""
        need_choice("--combine", self.combine, ["sum", "or"])

    def filters_for(self, bundle: "Bundle") -> "list[Filter]":
        """Give the filters of a stream: those that were asked for, else the bundle's."""
        from tmkt.events.channels import ChannelContract
        from tmkt.events.filters import parse_filter

        own = bundle.contract
        texts = [] if isinstance(own, ChannelContract) else list(own.filters)
        if self.filters is not None:
            texts = [] if self.filters == [NONE] else self.filters
        return [parse_filter(text) for text in texts]

    @property
    def corner(self) -> tuple[int, int] | None:
        """(x, y) of the region's top left pixel; None for the centre. InputError for other text."""
        if self.crop == "centre":
            return None
        found = PIXEL.fullmatch(self.crop)
        if found is None:
            raise InputError(
                f"--crop {self.crop[:40]!r}: expected X,Y in pixels, for example 120,40, or centre"
            )
        return int(found[1]), int(found[2])


@dataclass(frozen=True)
class SourceOptions:
    """Options for what a source does not say by itself."""

    sensor: SensorOption = None
    columns: ColumnsOption = None
    time_unit: UnitOption = None
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=0.1, help="A live stream ends after so many silent seconds."),
    ] = None
    repair: Annotated[
        bool, typer.Option("--repair", help="Take what is left of a damaged recording.")
    ] = False


@dataclass(frozen=True)
class OutputOptions:
    """Options for where decisions are shown."""

    page: Annotated[
        Path | None,
        typer.Option(
            "--page",
            help="Write a page that shows events, spikes and decisions: FILE.html.",
            show_default=False,
        ),
    ] = None
    page_layer: Annotated[
        str | None,
        typer.Option("--page-layer", help="Whose spikes it shows [the first].", show_default=False),
    ] = None
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="JSON lines on standard output: the rules, each decision, the summary."
        ),
    ] = False
    times: Annotated[
        bool, typer.Option("--times/--no-times", help="Show what depends on this host, too.")
    ] = True
