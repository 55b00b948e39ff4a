"""Makes what `tmkt demo --quick` shows (tmkt/quick/) from the folder of a `tmkt demo`.

python tests/bench/quick.py demo

Copied are the bundle, the run without the state of its training, and the first recordings of each
class that the network was not trained on. Equal demos give equal bytes.
"""

import argparse
import shutil
from collections import defaultdict
from pathlib import Path

from tmkt.bundle import FILES, MANIFEST, load
from tmkt.datasets.digits import MARKER, RECORDINGS
from tmkt.datasets.seen import recordings_of
from tmkt.errors import InputError
from tmkt.readers.camera_file import CAMERA
from tmkt.runs import CALIBRATION, INFO, METRICS, MODEL, RECIPE

QUICK = Path(__file__).parents[2] / "tmkt" / "quick"
PER_CLASS = 5
RUN = (CALIBRATION, INFO, METRICS, MODEL, RECIPE)


def chosen(demo: Path) -> list[str]:
    """Name the files of a demo's folder that are shipped."""
    bundle = load(demo / "bundle")
    by_class: dict[int, list[Path]] = defaultdict(list)
    for recording in recordings_of(bundle.manifest, demo / "data", "test", None):
        by_class[recording.label].append(recording.path)
    recordings = [path for paths in by_class.values() for path in sorted(paths)[:PER_CLASS]]
    return [
        *(f"bundle/{name}" for name in (MANIFEST, *FILES) if name in (MANIFEST, *bundle.contents)),
        *(f"run/{name}" for name in RUN),
        f"data/{MARKER}",
        f"data/{RECORDINGS}/{CAMERA}",
        *(path.relative_to(demo).as_posix() for path in recordings),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path, help="the folder that tmkt demo wrote")
    parser.add_argument("--out", type=Path, default=QUICK)
    options = parser.parse_args()
    try:
        names = chosen(options.demo)
    except InputError as error:
        parser.error(str(error))
    for part in ("bundle", "run", "data"):
        shutil.rmtree(options.out / part, ignore_errors=True)
    for name in names:
        path = options.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(options.demo / name, path)
    print(f"{options.out}: {len(names)} files")


if __name__ == "__main__":
    main()
