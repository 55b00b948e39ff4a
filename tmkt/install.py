"""Hints for installing what is missing.

No package index has tmkt (docs/install.md), so hints name the wheel or the checkout that it was
installed from.
"""

import json
from pathlib import Path
from shlex import quote


def pip_install(extra: str = "") -> str:
    """Say how to install tmkt with an extra, as in "run: pip install 'x.whl[train]'"."""
    wanted = f"[{extra}]" if extra else ""
    place, editable = _origin()
    if place is None:
        return (
            f"run in tmkt's checkout: pip install {quote('.' + wanted)}, or install its wheel so"
            " (docs/install.md)"
        )
    return f"run: pip install {'-e ' if editable else ''}{quote(f'{place}{wanted}')}"


def _origin() -> tuple[Path | None, bool]:
    """Find the wheel or checkout that pip installed tmkt from, and if it is a checkout in use.

    None where pip did not say it (PEP 610), and where it is no longer there.
    """
    # Imported here, because a start without a hint would take a fifth longer (measured).
    from importlib.metadata import distributions
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        # a checkout holds a second description of tmkt, without the file, where it was built
        texts = (one.read_text("direct_url.json") for one in distributions(name="tmkt"))
        said = json.loads(next(filter(None, texts), "{}"))
        url = urlsplit(str(said.get("url", "")))
        editable = bool(said.get("dir_info", {}).get("editable"))
    except (ValueError, AttributeError, OSError):
        return None, False
    place = Path(url2pathname(url.path))
    return (place, editable) if url.scheme == "file" and place.exists() else (None, False)
