"""Which format a file has, by its first bytes."""

from pathlib import Path

from tmkt.errors import InputError
from tmkt.readers.atis import looks_like_atis, open_atis
from tmkt.readers.files import Opener

HEAD = 65536  # bytes that decide

FORMATS: dict[str, Opener] = {"atis": open_atis}


def detect(head: bytes, path: Path) -> str:
    """The key in FORMATS. Raises InputError for what is none of them."""
    if looks_like_atis(head) or (path.suffix == ".bin" and len(head) < 30):
        return "atis"
    raise InputError(f"{path}: not a known event recording (begins with {head[:8]!r}), expected one of {', '.join(FORMATS)}; name it with --format")
