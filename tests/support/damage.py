"""Valid files, damaged: what a disk, a transfer or a stranger makes of them."""

import re
from collections.abc import Iterator

import numpy as np

VALUE = re.compile(r"""-?\d[\d.e+-]*|"[^"\n]*"|\[[^][]*\]|true|false|null""")
WRONG = (  # in place of a value of JSON, TOML or CSV
    "9" * 400,
    "-" + "9" * 5000,
    "1e400",
    "-1",
    "0",
    "1.5",
    "nan",
    "true",
    "null",
    '"x"',
    '""',
    "[]",
    "{}",
    "[" * 5000,
    "[" * 3000 + "]" * 3000,
    "\x1b[31m",
)


def damaged(content: bytes, count: int, seed: int = 0, where: int | None = None) -> Iterator[bytes]:
    """`count` versions of a file, never the file itself: truncated, single bits or bytes changed,
    runs overwritten, parts moved.

    Half of them are changed in the first `where` bytes, where headers are (by default the first 2
    KiB), the others anywhere.
    """
    rng = np.random.default_rng(seed)
    made = 0
    while made < count:
        data = np.frombuffer(content, np.uint8).copy()
        end = min(len(data), where or 2048) if rng.random() < 0.5 else len(data)
        kind = rng.integers(0, 5)
        if kind == 0:
            data = data[: rng.integers(0, end)]
        elif kind == 1:
            data[rng.integers(0, end)] ^= 1 << rng.integers(0, 8)
        elif kind == 2:
            for at in rng.integers(0, end, rng.integers(1, 9)):
                data[at] = rng.choice([0, 1, 127, 128, 255, rng.integers(0, 256)])
        elif kind == 3:
            at = rng.integers(0, end)
            data[at : at + rng.choice([2, 4, 8, 64])] = rng.choice([0, 255])
        else:
            first, second = np.sort(rng.integers(0, end, 2))
            data = np.concatenate([data[:first], data[second:], data[first:second]])
        if data.tobytes() != content:
            made += 1
            yield data.tobytes()


def wrong_values(content: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Give versions of a text file with one to three values of another kind or size."""
    rng = np.random.default_rng(seed)
    text = content.decode("utf-8")
    places = [found.span() for found in VALUE.finditer(text)]
    for _ in range(count if places else 0):
        changed = text
        for at in sorted(rng.integers(0, len(places), rng.integers(1, 4)), reverse=True):
            begin, end = places[at]
            changed = changed[:begin] + WRONG[rng.integers(0, len(WRONG))] + changed[end:]
        yield changed.encode()
