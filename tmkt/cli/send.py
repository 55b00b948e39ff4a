"""tmkt data send: a recording over UDP, as a camera for tests."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tmkt import console
from tmkt.cli.options import JsonOption
from tmkt.cli.reader_options import SensorOption

app = typer.Typer(rich_markup_mode=None)


@app.command(
    "send",
    epilog="Example: tmkt data send recording.bin udp://127.0.0.1:3333 --sensor 34x34 --speed 1",
)
def data_send(
    file: Annotated[Path, typer.Argument(help="Recording of any format that is read.")],
    address: Annotated[str, typer.Argument(help="udp://HOST:PORT of the receiver.")],
    speed: Annotated[
        float,
        typer.Option(
            "--speed", min=0, help="1: as recorded; 10: ten times as fast; 0: as fast as possible."
        ),
    ] = 1.0,
    sensor: SensorOption = None,
    no_stamps: Annotated[
        bool,
        typer.Option(
            "--no-stamps", help="Send no time stamps: the receiver takes the time of arrival."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Send a recording's events over UDP, in SPIF's and AEStream's packets: a camera for tests."""
    from tmkt.readers import parse_sensor
    from tmkt.readers.camera_file import open_recording
    from tmkt.readers.send import send

    source = open_recording(file, sensor=parse_sensor(sensor) if sensor else None)
    try:
        sent = send(source, address, speed, not no_stamps)
    finally:
        source.close()
    if as_json:
        console.emit_json({"file": str(file), "address": address, **asdict(sent)})
    else:
        console.note(
            f"{address}: {sent.events} events in {sent.packets} packets, {sent.seconds:.1f} s, at"
            f" most {1e3 * sent.late_s:.1f} ms late"
        )
    if sent.refused:
        console.note(f"{address}: {sent.refused} times nobody listened; start the receiver first")
