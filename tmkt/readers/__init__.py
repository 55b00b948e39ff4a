"""Readers of event recordings and live streams.

One file a format, one interface (`source.py`), and one check behind all of them (`check.py`).
"""

from tmkt.readers.files import FileSource
from tmkt.readers.open import open_events
from tmkt.readers.source import Counters, Disorder, Source, parse_sensor

__all__ = ["Counters", "Disorder", "FileSource", "Source", "open_events", "parse_sensor"]
