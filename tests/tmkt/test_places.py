"""Files and folders that commands replace, and those that they leave where they are."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tmkt import bundle
from tmkt.cli.places import (
    PAGE_MARK,
    need_bundle_place,
    need_free_place,
    need_page_place,
    need_place,
)
from tmkt.datasets.digits import MARKER, check_replaced, find_recordings, simulate_digits
from tmkt.errors import InputError


def test_simulated_recordings_are_replaced_by_the_same_alone(tmp_path: Path) -> None:
    out = tmp_path / "digits"
    check_replaced(out, 1, 0)
    simulate_digits(out, 1, 0)
    check_replaced(out, 1, 0)
    for per_class, seed in ((2, 0), (1, 1)):
        with pytest.raises(InputError, match=r"made with other settings .* --force"):
            check_replaced(out, per_class, seed)
    (out / "Train" / "3" / "mine.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"'Train/3/mine\.bin', which the simulation does not"):
        check_replaced(out, 1, 0)
    (out / MARKER).write_text("{")
    with pytest.raises(InputError, match="other settings"):
        check_replaced(out, 1, 0)


def test_simulate_asks_for_force(tmkt: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "digits"
    for _ in range(2):
        assert tmkt("data", "simulate", out, "--per-class", 1).code == 0
    done = tmkt("data", "simulate", out, "--per-class", 2)
    assert done.code == 2
    assert "--force" in done.err
    assert len(find_recordings(out)) == 10
    assert tmkt("data", "simulate", out, "--per-class", 2, "--force").code == 0
    assert len(find_recordings(out)) == 20
    (tmp_path / "precious").write_text("x")
    assert tmkt("data", "simulate", tmp_path, "--force").code == 2


def _manifest(out: Path, **origin: object) -> None:
    out.mkdir(exist_ok=True)
    manifest = {"files": {bundle.PROGRAM: {}}, "origin": {"dataset": "nmnist", **origin}}
    (out / bundle.MANIFEST).write_text(json.dumps(manifest))


def test_a_bundle_of_another_kind_is_replaced_by_force_alone(tmp_path: Path) -> None:
    out = tmp_path / "b"
    need_bundle_place(out, "nmnist", of_run=True, force=False)
    _manifest(out)
    (out / bundle.ONNX).touch()
    need_bundle_place(out, "nmnist", of_run=True, force=False)
    (out / bundle.MANIFEST).write_text("damaged")
    need_bundle_place(out, "nmnist", of_run=True, force=False)
    _manifest(out)
    with pytest.raises(InputError, match="a bundle for nmnist, the new one is for digits; add --f"):
        need_bundle_place(out, "digits", of_run=True, force=False)
    with pytest.raises(InputError, match=r"a bundle of a run, the new one is of a \.nir file"):
        need_bundle_place(out, "nmnist", of_run=False, force=False)
    _manifest(out, nir_sha256="0")
    with pytest.raises(InputError, match=r"a bundle of a \.nir file, the new one is of a run"):
        need_bundle_place(out, "nmnist", of_run=True, force=False)
    need_bundle_place(out, "nmnist", of_run=True, force=True)
    (out / "notes.txt").touch()
    with pytest.raises(InputError, match=r"'notes\.txt', which no export wrote"):
        need_bundle_place(out, "nmnist", of_run=False, force=False)


def test_a_page_replaces_a_page_alone(tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    need_page_place(page, force=False)
    page.touch()
    need_page_place(page, force=False)
    page.write_bytes(b"<html>" + PAGE_MARK)
    need_page_place(page, force=False)
    page.write_text("<html>mine")
    with pytest.raises(InputError, match="is no report of tmkt"):
        need_page_place(page, force=False)
    need_page_place(page, force=True)


def test_a_recording_replaces_no_file(tmp_path: Path) -> None:
    out = tmp_path / "a.npz"
    need_free_place(out, force=False)
    out.write_text("x")
    with pytest.raises(InputError, match=r"a\.npz: exists, .* add --force"):
        need_free_place(out, force=False)
    need_free_place(out, force=True)
    need_free_place(Path("/dev/null"), force=False)


def test_places_that_are_no_plain_files_are_known_before_the_work(tmp_path: Path) -> None:
    need_place(Path("/dev/null"))
    (tmp_path / "dangling").symlink_to(tmp_path / "deep" / "a")
    need_place(tmp_path / "dangling")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="cannot be written"):
        need_place(tmp_path / "loop")


def test_results_and_tables_go_through_links_and_to_devices(
    pipeline: Any, tmkt: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("answers.jsonl")
    options = ("--data", pipeline.data, "--limit", 3)
    done = tmkt("evaluate", pipeline.bundle, *options, "--results", tmp_path / "link")
    assert done.code == 0, done.err
    assert (tmp_path / "link").is_symlink()
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 3
    done = tmkt("evaluate", pipeline.bundle, *options, "--results", "/dev/null")
    assert done.code == 0, done.err
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    (tmp_path / "page.html").write_text("mine")
    done = tmkt("report", pipeline.bundle, "--out", tmp_path / "page.html")
    assert done.code == 2
    assert "--force" in done.err
    for more in (("--force",), ()):
        done = tmkt("report", pipeline.bundle, "--out", tmp_path / "page.html", *more)
        assert done.code == 0, done.err
    (tmp_path / "there").mkdir()
    (tmp_path / "b").symlink_to("there")
    for _ in range(2):
        done = tmkt("export", pipeline.run, "--target", "nir", "--out", tmp_path / "b")
        assert done.code == 0, done.err
    assert (tmp_path / "b").is_symlink()
    assert (tmp_path / "there" / bundle.MANIFEST).is_file()
