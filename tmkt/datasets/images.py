"""Image files of any size and colour as one array."""

import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tmkt.datasets.cache import cached
from tmkt.errors import InputError, one_line
from tmkt.files import open_plain
from tmkt.install import pip_install

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
# Pillow's decoders that may be used, whatever a file's name: others start programs (EPS starts
# Ghostscript) or are little used and little tested.
FORMATS = ("PNG", "JPEG", "BMP")
MOST_PIXELS = 2**26  # of one image
BROKEN = (  # raised by Pillow for damaged files
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)


def read_images(
    paths: Sequence[Path],
    size: tuple[int, int],
    progress: Callable[[int, int], None] | None = None,
    *,
    value_first: bool = False,
) -> NDArray[np.uint8]:
    """Read image files as values uint8 [N, h, w], resized to `size` (height, width); those of many
    files are kept in the cache.

    As Knowledge Transfer (its `datasets.py`): resized bilinearly in colour, proportions ignored,
    then the value channel of HSV, which is max(R, G, B); with `value_first` in the other order, as
    it does for CEP-DVS. Grey images are their own value.
    `progress` is told how many images of how many are read, where they are not cached. Raises
    InputError for files that are no images: all are tried, and counted.
    """

    def fill(out: NDArray[Any]) -> None:
        errors = []
        for i, path in enumerate(paths):
            try:
                out[i] = read_value(path, size, first=value_first)
            except InputError as error:
                errors.append(error)
            if progress:
                progress(i + 1, len(paths))
        if errors:
            others = [str(error).partition(": ")[0] for error in errors[1:4]]
            raise InputError(
                f"{errors[0]}; {len(errors)} of {len(paths)} images are"
                f" such{'' if not others else ', as ' + ', '.join(others)}"
            )

    made = "bilinear of HSV's value" if value_first else "value of HSV, bilinear"
    return cached(paths, {"images": made}, (len(paths), *size), np.uint8, fill)


class ImageFacts(NamedTuple):
    """An image's (height, width) in pixels; `grey`: without colour."""

    size: tuple[int, int]
    grey: bool


def read_value(path: Path, size: tuple[int, int], *, first: bool = False) -> NDArray[np.uint8]:
    """Read one image's values, uint8 `size`, taken before it is resized if `first`, else after.

    Raises InputError for a file that is no PNG, JPEG or BMP.
    """
    values, _ = _read(path, size, value_first=first)
    return values if values.ndim == 2 else values.max(axis=2)


def look_at_image(path: Path) -> ImageFacts:
    """Decode one image and give its size and kind; InputError as `read_value`."""
    return _read(path, (1, 1))[1]


def _read(
    path: Path, size: tuple[int, int], *, value_first: bool = False
) -> tuple[NDArray[np.uint8], ImageFacts]:
    """Read an image resized to `size`: [h, w] where it is grey or its value, else [h, w, 3]."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise InputError(
            f"{path}: reading images needs Pillow, which is not installed; {pip_install('data')}"
        ) from None
    try:
        with open_plain(path) as file, Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise InputError(
                    f"{path}: an image of {width} x {height} pixels, expected at most {MOST_PIXELS}"
                    " pixels; make it smaller"
                )
            grey = image.mode in ("1", "L")
            pixels = image.convert("L" if grey else "RGB")
            if value_first and not grey:
                pixels = Image.fromarray(np.asarray(pixels).max(axis=2))
            pixels = pixels.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    except UnidentifiedImageError:
        raise InputError(
            f"{path}: no image that is known, expected {', '.join(FORMATS)}; fetch it again or"
            " remove it"
        ) from None
    except (*BROKEN, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path}: cannot be read ({one_line(error)}); fetch it again or remove it"
        ) from None
    return np.asarray(pixels, np.uint8), ImageFacts((height, width), grey)


def need_size(size: tuple[int, int] | None, name: str) -> tuple[int, int]:
    """Give the size back; ValueError where none is given for images that differ in size."""
    if size is None:
        raise ValueError(f"the images of {name} differ in size: say which to resize them to")
    return size


def need_folder(root: Path | None, holding: str) -> Path:
    """Give the images' folder back; InputError where none is given or it is not there.

    `holding` says in the message what the folder should hold.
    """
    if root is None:
        raise InputError(
            f"static images: no folder given, expected one with {holding}; give it with"
            " --static DIR"
        )
    if not root.is_dir():
        raise InputError(f"{root}: no such folder, expected one with {holding}; check --static")
    return root
