"""Downloads of data sets: the archives that tonic and torchvision name, with their checksums.

An interrupted download goes on where it ended. Pooch, which other projects use, begins anew, and
writes over what lies in the folder when it unpacks: sets of gigabytes and folders of users need
more.
"""

import hashlib
import http.client
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tmkt.errors import InputError, nearest
from tmkt.install import pip_install

PIECE = 2**18  # bytes at a time
TIMEOUT_S = 30
Progress = Callable[[str, int, int | None], None]  # file, bytes done, bytes in all


@dataclass(frozen=True)
class Archive:
    """File to fetch, its MD5 as published, and the folder under the target that it belongs into.

    `unpack`: it is an archive.
    """

    url: str
    filename: str
    md5: str
    folder: str = "."
    unpack: bool = True


MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
OMNIGLOT = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
# addresses and checksums as in torchvision 0.28; CIFAR-10's binary version as on its page
IMAGES = {
    "mnist": [
        Archive(
            f"{MNIST}train-images-idx3-ubyte.gz",
            "train-images-idx3-ubyte.gz",
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "MNIST/raw",
            False,
        ),
        Archive(
            f"{MNIST}train-labels-idx1-ubyte.gz",
            "train-labels-idx1-ubyte.gz",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "MNIST/raw",
            False,
        ),
    ],
    "caltech101": [
        Archive(
            "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
            "caltech-101.zip",
            "3138e1922a9193bfa496528edbbc45d0",
        ),
    ],
    "omniglot": [
        Archive(
            f"{OMNIGLOT}images_background.zip",
            "images_background.zip",
            "68d2efa1b9178cc56df9314c21c6e718",
        ),
        Archive(
            f"{OMNIGLOT}images_evaluation.zip",
            "images_evaluation.zip",
            "6b91aef0f799c5bb55b94e3f2daec811",
        ),
    ],
    "cifar10": [
        Archive(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "cifar-10-binary.tar.gz",
            "c32a1d4ab5d03f1284b67883e8d87530",
        ),
    ],
}
TONIC = ("nmnist", "ncaltech101", "cifar10dvs", "dvsgesture")
BY_HAND = {
    "cepdvs": (
        "its authors' links stand at https://github.com/Brain-Cog-Lab/Transfer-for-DVS (issue 2)"
    ),
    "nomniglot": (
        "https://doi.org/10.6084/m9.figshare.16821427 has dvs_background and dvs_evaluation"
    ),
}
FETCHED = (*TONIC, *IMAGES)


def archives(name: str) -> list[Archive]:
    """List the archives of a data set, or of images, by name.

    Raises InputError for an unknown name and for a set that must be fetched by hand.
    """
    if name in BY_HAND:
        raise InputError(
            f"{name}: has no address that a program may fetch from; {BY_HAND[name]}, then: tmkt"
            " data check DIR"
        )
    if name in IMAGES:
        return IMAGES[name]
    if name not in TONIC:
        raise InputError(
            f"{name!r}: not a data set to fetch, expected one of"
            f" {', '.join(FETCHED)}{nearest(name, list(FETCHED))}"
        )
    try:
        from tonic import datasets as tonic
    except ImportError:
        raise InputError(
            f"fetch {name}: its address comes from tonic, which is not installed;"
            f" {pip_install('data')}"
        ) from None
    t = tonic
    if name == "nmnist":
        return [
            Archive(t.NMNIST.train_url, "train.zip", t.NMNIST.train_md5),
            Archive(t.NMNIST.test_url, "test.zip", t.NMNIST.test_md5),
        ]
    if name == "dvsgesture":
        g = t.DVSGesture
        return [
            Archive(g.train_url, g.train_filename, g.train_md5),
            Archive(g.test_url, g.test_filename, g.test_md5),
        ]
    one = {"ncaltech101": t.NCALTECH101, "cifar10dvs": t.CIFAR10DVS}[name]
    return [Archive(one.url, one.filename, one.file_md5)]


def fetch(wanted: list[Archive], out: Path, progress: Progress | None = None) -> None:
    """Download, check and unpack archives into `out`.

    Files that are there already are kept: a second call goes on where the first ended. Raises
    InputError without a network, for a checksum that does not hold, and for a disk that
    cannot be written.
    """
    for archive in wanted:
        folder = out / archive.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be written ({error.strerror or error}); choose another place"
            ) from None
        path = folder / archive.filename
        done = folder / f".{archive.filename}.unpacked"
        if archive.unpack and done.exists():
            continue
        download(archive.url, path, archive.md5, progress)
        if archive.unpack:
            unpack(path, folder)
            done.touch()


def download(url: str, path: Path, md5: str, progress: Progress | None = None) -> None:
    """Fetch `url` to `path`, going on with `path`.part where one was left.

    A file whose MD5 is not `md5` never stands at `path`.
    """
    if path.exists():
        if _md5(path) != md5:
            raise InputError(
                f"{path}: has MD5 {_md5(path)}, expected {md5}; it is not what {url} gives, move it"
                " away"
            )
        return
    part = path.with_name(f"{path.name}.part")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(
        url, headers={"User-Agent": "tmkt", **({"Range": f"bytes={have}-"} if have else {})}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            if response.status != 206:  # the server sends all of it again
                have = 0
            length = response.headers.get("Content-Length")
            total = have + int(length) if length and length.isdecimal() else None
            with _opened(part, have) as file:
                while piece := response.read(PIECE):
                    _write(file, piece, part)
                    have += len(piece)
                    if progress:
                        progress(path.name, have, total)
            if total is not None and have < total:
                raise http.client.IncompleteRead(b"", total - have)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # "range not satisfiable": nothing is missing
            raise InputError(
                f"{url}: the server answers {error.code} {error.reason}; look for the data set's"
                " present address"
            ) from None
    except (OSError, http.client.HTTPException) as error:
        reason = str(getattr(error, "reason", error)) or type(error).__name__
        raise InputError(
            f"{url}: cannot be fetched ({reason}); check the network, the same command goes on"
            " where this one ended"
        ) from None
    found = _md5(part)
    if found != md5:
        part.unlink()
        raise InputError(
            f"{url}: came with MD5 {found}, expected {md5}; what came was removed, fetch it again"
        )
    part.replace(path)


def _opened(part: Path, have: int) -> IO[bytes]:
    try:
        return open(part, "ab" if have else "wb")
    except OSError as error:
        raise InputError(
            f"{part}: cannot be written ({error.strerror or error}); choose another place"
        ) from None


def _write(file: IO[bytes], piece: bytes, part: Path) -> None:
    try:
        file.write(piece)
    except OSError as error:
        raise InputError(
            f"{part}: cannot be written ({error.strerror or error}); free space and go on with the"
            " same command"
        ) from None


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def unpack(path: Path, folder: Path) -> None:
    """Unpack an archive, and the archives in it, into `folder`, where all of it appears at once.

    Raises InputError for a damaged archive and where something of the same name is there already.
    """
    beside = folder / f".{path.name}.part"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir()
        _extract(path, beside)
        while inner := next(
            (
                p
                for p in sorted(beside.rglob("*"))
                if p.name.endswith((".zip", ".tar.gz", ".tar")) and p.is_file()
            ),
            None,
        ):
            _extract(inner, inner.parent)
            inner.unlink()
        for entry in beside.iterdir():
            if (folder / entry.name).exists():
                raise InputError(
                    f"{folder / entry.name}: exists already, expected a free place for what"
                    f" {path.name} holds; move it away"
                )
        for entry in beside.iterdir():
            entry.rename(folder / entry.name)
    except (
        OSError,
        EOFError,
        zlib.error,
        zipfile.BadZipFile,
        tarfile.TarError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise InputError(
            f"{path}: cannot be unpacked ({str(error)[:80] or type(error).__name__}); free space or"
            " fetch it again"
        ) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _extract(path: Path, into: Path) -> None:
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(into)  # drops leading slashes and ".."
    else:
        with tarfile.open(path) as tar:
            tar.extractall(into, filter="data")  # refuses what would land elsewhere
