"""The text header of Prophesee's RAW (EVT2, EVT2.1, EVT3) and DAT files.

It has lines `% key value`. Some writers close it with `% end`; older ones do not, and the first
byte of data may be a `%`: a line counts only if it is `%`, a space and printable text.
"""

from typing import IO

from tmkt.errors import InputError

LONGEST_LINE = 4096
LONGEST_HEADER = 65536
PLUGIN_SENSORS = {
    "gen3_": (480, 640),
    "gen31": (480, 640),
    "gen41": (720, 1280),
    "imx636": (720, 1280),
}  # (height, width) by names of Metavision plugins
SYSTEM_SENSORS = {"21": (480, 640), "48": (720, 1280)}  # seen in recordings


def read_header(file: IO[bytes], name: str) -> dict[str, str]:
    """Read keys, in lower case, and values; leave the file at the first byte of data.

    Raises InputError for a header without an end.
    """
    found: dict[str, str] = {}
    while (start := file.tell()) < LONGEST_HEADER:
        line = file.readline(LONGEST_LINE)
        text = line[:-1].rstrip(b"\r")
        if not (
            line.startswith(b"% ")
            and line.endswith(b"\n")
            and all(32 <= byte < 127 or byte == 9 for byte in text)
        ):
            file.seek(start)
            return found
        key, _, value = text[2:].decode("ascii").strip().partition(" ")
        if key.lower() == "end":
            return found
        found[key.lower()] = value.strip()
    raise InputError(
        f"{name}: a header of more than {LONGEST_HEADER} bytes, expected less; fetch the file again"
    )


def encoding(header: dict[str, str]) -> str | None:
    """Give a RAW file's "EVT2", "EVT21" or "EVT2.1", ...; None for a DAT file, which names none."""
    if "format" in header:
        return header["format"].partition(";")[0].strip().upper()
    if "evt" in header:
        return "EVT" + header["evt"].removesuffix(".0")
    return None


def _format_options(header: dict[str, str]) -> dict[str, str]:
    """Give what stands behind the format's name, as in "EVT3;height=720;width=1280"."""
    return dict(part.split("=", 1) for part in header.get("format", "").split(";") if "=" in part)


def stated(header: dict[str, str], key: str) -> str:
    """Give a value that stands behind the format's name or in a line of its own; "" if neither."""
    return _format_options(header).get(key, header.get(key, "")).strip()


def sensor_of(header: dict[str, str]) -> tuple[int, int] | None:
    """Give (height, width) by the header's size, else by the camera's name."""
    sizes = _format_options(header)
    width, _, height = header.get("geometry", "").partition("x")
    for h, w in (
        (sizes.get("height", ""), sizes.get("width", "")),
        (height, width),
        (header.get("height", ""), header.get("width", "")),
    ):
        if h.strip().isdecimal() and w.strip().isdecimal() and len(h) < 9 and len(w) < 9:
            return int(h), int(w)
    for plugin, sensor in PLUGIN_SENSORS.items():
        if plugin in header.get("plugin_name", ""):
            return sensor
    return SYSTEM_SENSORS.get(header.get("system_id", ""))
