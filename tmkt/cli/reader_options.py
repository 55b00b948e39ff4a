"""Options for how a recording is read: the commands that read recordings share them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmkt.cli.options import need_choice

if TYPE_CHECKING:
    from tmkt.readers import FileSource
    from tmkt.readers.files import TimeUnit

SensorOption = Annotated[
    str | None,
    typer.Option(
        "--sensor",
        help="WIDTHxHEIGHT, where neither the file nor a camera.toml says it.",
        show_default=False,
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns",
        help="Of text, in order: t,x,y,p; other names are passed over [a first line's names].",
        show_default=False,
    ),
]
UnitOption = Annotated[
    str | None,
    typer.Option(
        "--time-unit",
        help=(
            "Of stamps in text, NumPy, MATLAB and HDF5 files: s, ms, us or ns [us, if whole"
            " numbers]."
        ),
        show_default=False,
    ),
]


@dataclass(frozen=True)
class ReaderOptions:
    """Options for facts that a file does not say itself, and for its faults."""

    sensor: SensorOption = None
    format: Annotated[
        str | None,
        typer.Option(
            "--format", help="Of the file to read [told by its content].", show_default=False
        ),
    ] = None
    columns: ColumnsOption = None
    time_unit: UnitOption = None
    stream: Annotated[
        int, typer.Option("--stream", min=0, help="Which event stream of an AEDAT4 file.")
    ] = 0
    layout: Annotated[
        str | None,
        typer.Option(
            "--layout",
            help="Of AEDAT 1 and 2 addresses: dvs128, davis240 or davis346 [as the header says].",
            show_default=False,
        ),
    ] = None
    disorder: Annotated[
        str,
        typer.Option(
            "--disorder", help="Stamps that go back: drop, clamp to the one before, or fail."
        ),
    ] = "drop"
    repair: Annotated[
        bool, typer.Option("--repair", help="Take what is left of a damaged file.")
    ] = False

    def open(self, file: Path) -> "FileSource":
        """Open a recording. Raises InputError for options that are not known, and as
        `open_recording` does.
        """
        from tmkt.readers import parse_sensor
        from tmkt.readers.camera_file import open_recording

        need_choice("--disorder", self.disorder, ["drop", "clamp", "fail"])
        return open_recording(
            file,
            sensor=parse_sensor(self.sensor) if self.sensor else None,
            columns=columns_of(self.columns),
            time_unit=unit_of(self.time_unit),
            format=self.format,
            stream=self.stream,
            layout=self.layout,
            disorder=self.disorder,
            repair=self.repair,
        )


def columns_of(text: str | None) -> tuple[str, ...] | None:
    """Parse --columns; InputError unless t, x, y and p are there once each."""
    from tmkt.readers.text_layout import parse_columns

    return None if text is None else parse_columns(text, "--columns")


def unit_of(text: str | None) -> "TimeUnit | None":
    """Check --time-unit; InputError for one that is not known."""
    if text is not None:
        need_choice("--time-unit", text, ["s", "ms", "us", "ns"])
    return text  # type: ignore[return-value]
