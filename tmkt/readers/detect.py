"""Detection of a file's format by its first bytes."""

import io
from pathlib import Path

from tmkt.errors import InputError
from tmkt.files import open_plain
from tmkt.readers.aedat2 import open_aedat2
from tmkt.readers.aedat3 import open_aedat3
from tmkt.readers.aedat4 import open_aedat4
from tmkt.readers.atis import looks_like_atis, open_atis
from tmkt.readers.dat import TYPES, open_dat
from tmkt.readers.event_stream import open_event_stream
from tmkt.readers.evt2 import open_evt2
from tmkt.readers.evt3 import open_evt3
from tmkt.readers.evt21 import open_evt21
from tmkt.readers.files import Opener
from tmkt.readers.hdf5 import open_hdf5
from tmkt.readers.mat import MAGIC as MAT_MAGIC
from tmkt.readers.mat import open_mat
from tmkt.readers.numpy_files import open_npy, open_npz
from tmkt.readers.prophesee import encoding, read_header
from tmkt.readers.text import open_text
from tmkt.readers.text_layout import looks_like_text

HEAD = 65536  # bytes that decide

FORMATS: dict[str, Opener] = {
    "atis": open_atis,
    "aedat2": open_aedat2,
    "aedat3": open_aedat3,
    "aedat4": open_aedat4,
    "evt2": open_evt2,
    "evt21": open_evt21,
    "evt3": open_evt3,
    "dat": open_dat,
    "npz": open_npz,
    "npy": open_npy,
    "hdf5": open_hdf5,
    "mat": open_mat,
    "es": open_event_stream,
    "csv": open_text,
}
MAGIC = {
    b"#!AER-DAT1": "aedat2",
    b"#!AER-DAT2": "aedat2",
    b"#!AER-DAT3": "aedat3",
    b"#!AER-DAT4": "aedat4",
    b"\x89HDF\r\n\x1a\n": "hdf5",
    MAT_MAGIC: "mat",
    b"Event Stream": "es",
    b"\x93NUMPY": "npy",
}
# Endings of recordings' names, where files are looked for in folders.
BINARY = (
    ".bin",
    ".aedat",
    ".aedat4",
    ".raw",
    ".dat",
    ".npz",
    ".npy",
    ".h5",
    ".hdf5",
    ".es",
    ".mat",
)
TEXT = (".csv", ".txt")  # files of these may as well hold something else
RECORDINGS = BINARY + TEXT
TEXT_HEAD = 4096  # bytes that tell
TINY = 20  # bytes: 3 records of 5 are no evidence


def detect(head: bytes, path: Path) -> str:
    """Give the key in FORMATS for a file's first bytes.

    The name decides only for `.bin` files of less than 20 bytes. Raises InputError for any other
    content, with the format's name where it is known.
    """
    for magic, format in MAGIC.items():
        if head.startswith(magic):
            return format
    if head.startswith(b"PK\3\4") and b".npy" in head[:300]:
        return "npz"
    if looks_like_text(head):
        return "csv"
    if head.startswith(b"% ") and (name := _prophesee(head, path)):
        return name
    if looks_like_atis(head) or (path.suffix == ".bin" and len(head) < TINY):
        return "atis"
    raise InputError(
        f"{path}: not a known event recording (begins with {head[:8]!r}); if it is one, name it:"
        f" --format {', '.join(FORMATS)}"
    )


def recordings_among(paths: list[Path]) -> list[Path]:
    """Choose the recordings by the endings of their names.

    Beside recordings of other formats, only those files of text count that look like events.
    """
    found = [path for path in paths if path.suffix.lower() in RECORDINGS]
    if all(path.suffix.lower() in TEXT for path in found):
        return found
    return [path for path in found if path.suffix.lower() in BINARY or _holds_text(path)]


def _holds_text(path: Path) -> bool:
    try:
        with open_plain(path) as file:
            return looks_like_text(file.read(TEXT_HEAD))
    except OSError:
        return False


def _prophesee(head: bytes, path: Path) -> str | None:
    file = io.BytesIO(head)
    words = encoding(read_header(file, str(path)))
    if words is None:
        kind = file.read(2)
        return "dat" if len(kind) == 2 and kind[0] in TYPES and kind[1] == 8 else None
    words = words.replace(".", "")
    if words not in ("EVT2", "EVT21", "EVT3"):
        raise InputError(
            f"{path}: events are encoded as {words}, expected EVT2, EVT2.1 or EVT3; convert the"
            " file with Metavision"
        )
    return words.lower()
