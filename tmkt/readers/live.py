"""Sources of events that come while they happen, by the name that a user gives."""

from tmkt.readers.source import Disorder, Source

STDIN = "-"
UDP = "udp://"


def is_live(name: str) -> bool:
    """Whether a source's name is not that of a file: "-", or "udp://HOST:PORT"."""
    return name == STDIN or name.startswith(UDP)


def open_live(
    name: str,
    sensor: tuple[int, int],
    *,
    timeout_s: float | None = None,
    disorder: Disorder = "drop",
    repair: bool = False,
) -> Source:
    """Listens at "udp://HOST:PORT" or reads "-", lines of text on standard input, from a sensor of
    (height, width).

    `timeout_s`: the stream ends after so many seconds without an event, also before the first;
    None: never. Raises InputError for an address that cannot be listened at. `udp.py` and
    `stdin.py` say what is dropped, and when.
    """
    if name == STDIN:
        from tmkt.readers.stdin import StdinSource

        return StdinSource(sensor, timeout_s=timeout_s, disorder=disorder, repair=repair)
    from tmkt.readers.udp import UdpSource

    return UdpSource(name, sensor, timeout_s=timeout_s, disorder=disorder)
