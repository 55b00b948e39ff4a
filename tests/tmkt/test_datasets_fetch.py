"""Downloads: from a server in the test, as there is no other."""

import gzip
import hashlib
import io
import os
import socket
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tmkt.datasets.fetch import BY_HAND, FETCHED, Archive, archives, download, fetch
from tmkt.datasets.registry import NAMES, dataset
from tmkt.errors import InputError


class Server:
    """Serve files from memory, in parts if asked; `cut` ends an answer after so many bytes."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: int | None = None
        self.ranges: list[str | None] = []
        self.parts = True
        self.address = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.ranges.append(asked)
        data = self.files.get(handler.path)
        if data is None:
            handler.send_error(404)
            return
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.parts else 0
        if begin >= len(data):
            handler.send_error(416)
            return
        handler.send_response(206 if asked and self.parts else 200)
        handler.send_header("Content-Length", str(len(data) - begin))
        handler.end_headers()
        handler.wfile.write(data[begin : None if self.cut is None else begin + self.cut])
        self.cut = None


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.answer(self)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        server.address = f"http://127.0.0.1:{http.server_address[1]}"
        yield server
        http.shutdown()
        thread.join()


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


@pytest.mark.parametrize("parts", [True, False])
def test_an_interrupted_download_goes_on(tmp_path: Path, parts: bool) -> None:
    data = os.urandom(700_000)
    with serving() as server:
        server.files["/a"], server.cut, server.parts = data, 400_000, parts
        with pytest.raises(InputError, match=r"cannot be fetched.*goes on where this one ended"):
            download(f"{server.address}/a", tmp_path / "a", md5(data))
        assert not (tmp_path / "a").exists()
        assert (tmp_path / "a.part").stat().st_size == 400_000
        seen: list[tuple[str, int, int | None]] = []
        download(f"{server.address}/a", tmp_path / "a", md5(data), lambda *what: seen.append(what))
        assert server.ranges == [None, "bytes=400000-"]
        assert seen[-1] == ("a", 700_000, 700_000)
        assert (tmp_path / "a").read_bytes() == data
        assert not (tmp_path / "a.part").exists()
        download(f"{server.address}/a", tmp_path / "a", md5(data))  # is there: nothing is asked for
        assert len(server.ranges) == 2


def test_a_download_that_was_complete_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"all of it")
    with serving() as server:
        server.files["/a"] = b"all of it"
        download(f"{server.address}/a", tmp_path / "a", md5(b"all of it"))
    assert (tmp_path / "a").read_bytes() == b"all of it"


def test_what_is_not_what_was_published_is_not_kept(tmp_path: Path) -> None:
    with serving() as server:
        server.files["/a"] = b"something else"
        with pytest.raises(
            InputError, match=f"came with MD5 {md5(b'something else')}, expected {md5(b'a')}"
        ):
            download(f"{server.address}/a", tmp_path / "a", md5(b"a"))
        assert not list(tmp_path.iterdir())
        with pytest.raises(InputError, match="the server answers 404"):
            download(f"{server.address}/b", tmp_path / "b", md5(b"a"))
    (tmp_path / "a").write_bytes(b"mine")
    with pytest.raises(InputError, match="move it away"):
        download("http://127.0.0.1:1/a", tmp_path / "a", md5(b"a"))
    assert (tmp_path / "a").read_bytes() == b"mine"


def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match=r"cannot be fetched \(.*refused\); check the network"):
        download(f"http://127.0.0.1:{port}/a", tmp_path / "a", md5(b"a"))
    assert not list(tmp_path.iterdir())


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_archives_in_archives_are_unpacked_once(tmp_path: Path) -> None:
    inner = zipped({"Caltech101/ant/image_0001.bin": b"12345"})
    files = {
        "/n.zip": zipped({"Caltech101.zip": inner}),
        "/c.tar.gz": tarred({"d/e.txt": b"e"}),
        "/m.gz": gzip.compress(b"m"),
    }
    with serving() as server:
        server.files = files
        wanted = [
            Archive(
                f"{server.address}{name}",
                name[1:],
                md5(data),
                folder="raw" if name == "/m.gz" else ".",
                unpack=name != "/m.gz",
            )
            for name, data in files.items()
        ]
        fetch(wanted, tmp_path / "out")
        assert (tmp_path / "out" / "Caltech101" / "ant" / "image_0001.bin").read_bytes() == b"12345"
        assert (tmp_path / "out" / "d" / "e.txt").read_bytes() == b"e"
        assert (tmp_path / "out" / "raw" / "m.gz").read_bytes() == files["/m.gz"]
        (tmp_path / "out" / "d" / "e.txt").write_bytes(b"mine")
        asked = len(server.ranges)
        fetch(wanted, tmp_path / "out")
        assert len(server.ranges) == asked
        assert (tmp_path / "out" / "d" / "e.txt").read_bytes() == b"mine"
    assert len(dataset("ncaltech101").find_recordings(tmp_path / "out")) == 1


@pytest.mark.parametrize(  # names, because an archive holds the time: test processes would disagree
    "data",
    [b"no archive", zipped({"a": b"a" * 1000})[:-30], tarred({"../../out": b"x"})],
    ids=["no archive", "cut", "leaves its folder"],
)
def test_a_damaged_or_wicked_archive_leaves_nothing_behind(tmp_path: Path, data: bytes) -> None:
    name = "a.tar.gz" if data[:2] == b"\x1f\x8b" else "a.zip"
    with serving() as server:
        server.files[f"/{name}"] = data
        with pytest.raises(InputError, match="cannot be unpacked"):
            fetch([Archive(f"{server.address}/{name}", name, md5(data))], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    assert not (tmp_path / "out2").exists()


def test_what_a_user_has_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "Train").mkdir()
    data = zipped({"Train/0/1.bin": b"12345", "Other/a": b"a"})
    with serving() as server:
        server.files["/a.zip"] = data
        with pytest.raises(InputError, match="Train: exists already"):
            fetch([Archive(f"{server.address}/a.zip", "a.zip", md5(data))], tmp_path)
    assert not (tmp_path / "Other").exists()


def test_every_set_that_can_be_fetched_has_addresses_and_checksums() -> None:
    for name in FETCHED:
        for archive in archives(name):
            assert archive.url.startswith("https://")
            assert len(archive.md5) == 32
    assert set(NAMES) - {"digits", "folders", "images", "spikes"} <= {*FETCHED, *BY_HAND}
