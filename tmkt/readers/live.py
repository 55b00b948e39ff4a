"""Live sources of events, by the name that a user gives."""

from tmkt.readers.files import TimeUnit
from tmkt.readers.source import Disorder, Source

STDIN = "-"
UDP = "udp://"


def is_live(name: str) -> bool:
    """Tell if a name is that of a live source, "-" or "udp://HOST:PORT", and not of a file."""
    return name == STDIN or name.startswith(UDP)


def open_live(
    name: str,
    sensor: tuple[int, int],
    *,
    timeout_s: float | None = None,
    disorder: Disorder = "drop",
    repair: bool = False,
    columns: tuple[str, ...] | None = None,
    time_unit: TimeUnit | None = None,
) -> Source:
    """Listen at "udp://HOST:PORT", or read lines of text from standard input ("-").

    `sensor` is (height, width). `timeout_s`: the stream ends after so many seconds without an
    event, also before the first; None: never. `udp.py` and `stdin.py` state what is dropped. Raises
    InputError for an address that cannot be listened at.
    """
    if name == STDIN:
        from tmkt.readers.stdin import StdinSource

        return StdinSource(
            sensor,
            timeout_s=timeout_s,
            disorder=disorder,
            repair=repair,
            columns=columns,
            time_unit=time_unit,
        )
    from tmkt.readers.udp import UdpSource

    return UdpSource(name, sensor, timeout_s=timeout_s, disorder=disorder)
