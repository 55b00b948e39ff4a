"""tmkt data list, check and fetch."""

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
from typing import Any

import pytest
from example_datasets import write_caltech101, write_cepdvs, write_cifar10_binary, write_cifar10dvs, write_colour, write_ncaltech101

from tmkt.datasets import NAMES, dataset
from tmkt.datasets.check import check_data, detect, known_sets
from tmkt.datasets.fetch import BY_HAND, FETCHED, Archive, archives, download, fetch
from tmkt.errors import InputError

SOME = ["ant", "bass", "lotus"]


def checked(name: str, root: Path, static: Path | None = None, protocol: str = "instance-disjoint") -> dict[str, Any]:
    return check_data(dataset(name), root, static, protocol)


def a_users_folders(root: Path, classes: int = 2, each: int = 4) -> None:
    """Pairs of one name a class: small, whole and without a leak."""
    write_ncaltech101(root / "x", SOME[:classes], each)
    for path in (root / "x").glob("Caltech101/*/*.bin"):
        (root / "events" / path.parent.name).mkdir(parents=True, exist_ok=True)
        path.rename(root / "events" / path.parent.name / path.name)
        write_colour(root / "images" / path.parent.name / f"{path.stem}.png", (30, 40), len(path.parent.name))
    (root / "events" / "camera.toml").write_text('sensor = "240x180"\n')


def test_a_whole_set_is_found_well(tmp_path: Path) -> None:
    a_users_folders(tmp_path)
    report = checked("folders", tmp_path / "events", tmp_path / "images")
    assert report["problems"] == []
    assert [(c["name"], c["recordings"], c["images"]) for c in report["classes"]] == [("ant", 4, 4), ("bass", 4, 4)]
    (protocol,) = report["protocols"]
    assert (protocol["train"], protocol["test"], protocol["images"]) == (6, 2, 6)
    assert protocol["shared_instances"] == protocol["tested_images"] == 0


def test_a_real_set_is_found_well_by_the_command(shared_data: Path, tmkt: Any) -> None:
    done = tmkt("data", "check", shared_data / "nmnist", "--static", shared_data / "mnist", "--json")
    assert done.code == 0
    assert done.json["data_set"] == "nmnist"
    assert (done.json["recordings"], done.json["images"], done.json["problems"]) == (500, 60_000, [])


def test_every_fault_is_named_and_fails_the_command(tmp_path: Path, tmkt: Any) -> None:
    a_users_folders(tmp_path, 3)
    events, images = tmp_path / "events", tmp_path / "images"
    damaged = events / "ant" / "image_0002.bin"
    damaged.write_bytes(damaged.read_bytes()[:-2])
    (events / "bass" / "again.bin").write_bytes((events / "bass" / "image_0001.bin").read_bytes())
    for path in (images / "lotus").iterdir():
        path.unlink()
    done = tmkt("data", "check", events, "--static", images, "--json")
    assert done.code == 1
    report = done.json
    assert [entry["path"] for entry in report["corrupt"]] == [str(damaged)]
    assert "truncated" in report["corrupt"][0]["error"]
    assert report["classes_without_images"] == ["lotus"]
    assert report["duplicates"] == [[str(events / "bass" / "again.bin"), str(events / "bass" / "image_0001.bin")]]
    assert len(report["problems"]) == 3
    table = tmkt("data", "check", events, "--static", images)
    assert table.code == 1
    assert "cannot be read: " in table.out
    assert "FAILED: 1 recordings cannot be read; 1 classes have no images" in table.out


def test_classes_that_do_not_match_are_named(tmp_path: Path) -> None:
    write_cepdvs(tmp_path, ["fish", "trees"], 3)
    report = checked("cepdvs", tmp_path, tmp_path)
    assert len(report["classes_without_recordings"]) == 18
    assert report["label_conflicts"] == []
    other = tmp_path / "other"
    write_cepdvs(other, ["trees", "fish"], 3)
    assert checked("cepdvs", tmp_path, other)["label_conflicts"] == [f"cepdvs-{i}" for i in range(6)]


def test_the_leak_of_a_published_split_is_counted(tmp_path: Path) -> None:
    write_ncaltech101(tmp_path / "events", SOME, 10)
    write_caltech101(tmp_path / "images", SOME, 10)
    report = checked("ncaltech101", tmp_path / "events", tmp_path / "images", "paper")
    ours, papers = report["protocols"]
    assert (ours["shared_instances"], ours["tested_images"]) == (0, 0)
    assert (papers["test"], papers["shared_instances"], papers["tested_images"]) == (3, 0, 3)
    assert "paper: tested things are trained on, 0 as recordings, 3 as images" in report["problems"]
    (tmp_path / "images" / "101_ObjectCategories" / "ant" / "image_0003.jpg").write_bytes(b"no image")
    report = checked("ncaltech101", tmp_path / "events", tmp_path / "images")
    assert any("image_0003.jpg: no image that is known" in problem for problem in report["problems"])


def test_a_leak_that_nobody_can_rule_out_is_said(tmp_path: Path) -> None:
    write_cifar10dvs(tmp_path / "events", 6)
    write_cifar10_binary(tmp_path / "images", 5)
    report = checked("cifar10dvs", tmp_path / "events", tmp_path / "images")
    assert any("which images were recorded is not published" in problem for problem in report["problems"])
    assert checked("cifar10dvs", tmp_path / "events", tmp_path / "images", "paper")["problems"] == []


def test_a_folder_is_known_by_its_layout(tmp_path: Path, shared_data: Path) -> None:
    write_ncaltech101(tmp_path / "n", SOME, 1)
    write_cepdvs(tmp_path / "c", ["fish"], 1)
    a_users_folders(tmp_path / "f", 1, 1)
    assert detect(shared_data / "nmnist") == "nmnist"
    assert detect(tmp_path / "n") == "ncaltech101"
    assert detect(tmp_path / "c") == "cepdvs"
    assert detect(tmp_path / "f" / "events") == "folders"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="in a layout that is known"):
        detect(tmp_path / "empty")
    with pytest.raises(InputError, match="no such folder"):
        detect(tmp_path / "nowhere")


def test_the_list_says_what_is_known_and_where_it_is(tmp_path: Path, shared_data: Path, tmkt: Any) -> None:
    write_caltech101(tmp_path / "caltech101", SOME, 1)
    write_ncaltech101(tmp_path / "events", SOME, 2)
    rows = {row["name"]: row for row in known_sets([tmp_path, shared_data])}
    assert tuple(rows) == NAMES
    assert rows["ncaltech101"]["recordings"] == [{"path": str(tmp_path / "events"), "recordings": 6}]
    assert rows["ncaltech101"]["images"] == [str(tmp_path), str(tmp_path / "caltech101")]
    assert rows["nmnist"]["recordings"] == [{"path": str(shared_data / "nmnist"), "recordings": 500}]
    assert rows["nmnist"]["images"] == [str(shared_data / "mnist")]
    done = tmkt("data", "list", tmp_path)
    assert done.code == 0
    assert "6 recordings" in done.out.replace("\n", " ")
    assert tmkt("data", "list", tmp_path / "nowhere", "--json").json["data_sets"][0]["recordings"] == []


def test_a_wrong_word_is_answered_with_the_known_ones(tmp_path: Path, tmkt: Any) -> None:
    for arguments, message in (
        (("check", tmp_path, "--name", "nmnst"), "did you mean 'nmnist'"),
        (("check", tmp_path, "--protocol", "papr"), "did you mean 'paper'"),
        (("fetch", "ncaltech"), "did you mean 'ncaltech101'"),
        (("fetch", "cepdvs"), "has no address that a program may fetch from"),
    ):
        done = tmkt("data", *arguments)
        assert done.code == 2
        assert message in done.err
        assert done.err.count("\n") == 1


class Server:
    """Gives files from memory, in parts if asked; `cut` ends the next answer after so many bytes."""

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
        with pytest.raises(InputError, match=f"came with MD5 {md5(b'something else')}, expected {md5(b'a')}"):
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
    files = {"/n.zip": zipped({"Caltech101.zip": inner}), "/c.tar.gz": tarred({"d/e.txt": b"e"}), "/m.gz": gzip.compress(b"m")}
    with serving() as server:
        server.files = files
        wanted = [
            Archive(f"{server.address}{name}", name[1:], md5(data), folder="raw" if name == "/m.gz" else ".", unpack=name != "/m.gz")
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


@pytest.mark.parametrize("data", [b"no archive", zipped({"a": b"a" * 1000})[:-30], tarred({"../../out": b"x"})])
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
    assert set(NAMES) - {"digits", "folders"} <= {*FETCHED, *BY_HAND}
