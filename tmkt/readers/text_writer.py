"""Writer of recordings as CSV."""

from typing import IO

from tmkt.events.types import Events
from tmkt.readers.files import Writer


class TextWriter(Writer):
    """Writer of CSV: the sensor as Metavision states it, names of the columns, then the events."""

    def __init__(self, file: IO[bytes], name: str, sensor: tuple[int, int]) -> None:
        super().__init__(file, name, sensor)
        file.write(f"%geometry:{sensor[1]},{sensor[0]}\nt_us,x,y,p\n".encode())

    def write(self, events: Events) -> None:
        """Append a chunk."""
        columns = (events.t, events.x, events.y, events.p)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        self._file.write("".join(f"{t},{x},{y},{p}\n" for t, x, y, p in rows).encode())
