"""The engine `c`: the bundle's own C, compiled here, against the simulator on real recordings; and
what a user is told where it cannot be.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_compiler import needs_cc
from example_bundles import SHAPE, STEPS, example_frames, example_parts
from example_networks import make_network

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.datasets.nmnist import find_recordings
from tmkt.datasets.reading import load_frames
from tmkt.deploy.doctor import examine
from tmkt.deploy.engines import c as module
from tmkt.deploy.engines.registry import open_engine
from tmkt.errors import InputError
from tmkt.events.frames import InputContract
from tmkt.export.quantise.quantise import quantise
from tmkt.export.targets.c import write_c, write_c_header
from tmkt.nir.from_network import network_to_nir
from tmkt.program.model import Program

ORIGIN: dict[str, Any] = {"dataset": "nmnist", "trained_on": [], "images_trained_on": {}}


def write(path: Path, program: Program, contract: InputContract) -> Bundle:
    writers = {
        bundles.C_SOURCE: lambda file: write_c(program, file),
        bundles.C_HEADER: lambda file: write_c_header(program, file),
    }
    return bundles.write(
        path, program, contract, [str(i) for i in range(program.classes)], ORIGIN, [], writers
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write(
        tmp_path_factory.mktemp("c") / "bundle",
        example_parts()[1],
        InputContract(SHAPE[1:], STEPS, 1000, 1),
    )


def edit(bundle: Bundle, path: Path, change: Callable[[str], str]) -> Bundle:
    """Copy the bundle and replace network.c by a version changed by hand, with its hash in the
    manifest.
    """
    shutil.copytree(bundle.path, path)
    source = path / bundles.C_SOURCE
    source.write_text(change(source.read_text()))
    manifest = json.loads((path / bundles.MANIFEST).read_text())
    manifest["files"][bundles.C_SOURCE] = {
        "sha256": bundles.sha256(source),
        "bytes": source.stat().st_size,
    }
    (path / bundles.MANIFEST).write_text(json.dumps(manifest))
    return bundles.load(path)


@needs_cc
def test_real_recordings_give_the_spikes_and_membranes_of_the_simulator(
    shared_data: Path, tmp_path: Path
) -> None:
    contract = InputContract((34, 34), 10, 31_600, 2)
    frames, _ = load_frames(find_recordings(shared_data / "nmnist")[::25], contract)
    program, _ = quantise(
        network_to_nir(make_network()), contract.shape, contract.max_count, frames[:4]
    )
    opened = write(tmp_path / "bundle", program, contract)
    simulator, found = (open_engine(name, opened).run(frames) for name in ("simulator", "c"))
    np.testing.assert_array_equal(found.readout, simulator.readout)
    assert simulator.spikes is not None
    assert found.spikes is not None
    assert found.spikes.keys() == simulator.spikes.keys()
    for name, expected in simulator.spikes.items():
        assert 0.005 < expected.mean() < 0.5
        np.testing.assert_array_equal(found.spikes[name], expected, err_msg=name)


@needs_cc
def test_parity_takes_it(tmkt: Any, pipeline: Any) -> None:
    report = tmkt(
        "parity",
        pipeline.bundle,
        "--engines",
        "simulator,c",
        "--data",
        pipeline.data,
        "--limit",
        8,
        "--json",
    ).json
    engine = next(engine for engine in report["engines"] if engine["name"] == "c")
    assert (
        report["passed"],
        engine["exact"],
        engine["spike_mismatches"],
        engine["membrane_mismatches"],
    ) == (True, True, 0, 0)
    assert engine["spikes_compared"] > 0


@needs_cc
def test_what_it_compiles_is_taken_away_again(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    engine = open_engine("c", bundle)
    assert engine.run(example_frames(1)).readout.shape == (1, 4)
    assert len(list(tmp_path.iterdir())) == 1
    del engine
    assert not list(tmp_path.iterdir())


def test_without_a_compiler_it_says_what_to_install(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InputError, match="engine 'c': found no C compiler called cc; install a C compiler"
    ):
        open_engine("c", bundle)
    [finding] = [finding for finding in examine() if finding["part"] == "C compiler"]
    assert (finding["found"], finding["required"]) == (None, False)
    assert "apt install gcc" in str(finding["advice"])


@needs_cc
def test_a_file_that_does_not_compile_is_named_with_the_compilers_error(
    bundle: Bundle, tmp_path: Path
) -> None:
    edited = edit(
        bundle,
        tmp_path / "bundle",
        lambda text: text.replace("int32_t best = 0;", "int32_t best = zero;"),
    )
    with pytest.raises(
        InputError,
        match=(
            r"network\.c: .*cc cannot compile it \(network\.c:\d+:\d+: error: .*zero.*\); export"
            r" the network again"
        ),
    ):
        open_engine("c", edited)


def test_a_disk_that_the_compiler_fills_is_no_fault_of_the_network(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words are gcc's on a file system of 400 kB, which only root can make."""
    cc = tmp_path / "cc"
    cc.write_text(
        "#!/bin/sh\necho 'network.c:25:1: fatal error: error writing to /tmp/cc4.s: No space left"
        " on device' >&2\nexit 1\n"
    )
    cc.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(
        InputError,
        match=r"nothing can be compiled or run there \(No space left on device\); free space",
    ):
        open_engine("c", bundle)


@needs_cc
@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("*(volatile int *)0 = 1;", "ended by signal"),
        ("{ extern void exit(int); exit(3); }", "exit code 3, 0 bytes"),
    ],
)
def test_a_program_that_crashes_or_stops_does_not_take_the_engine_along(
    bundle: Bundle, tmp_path: Path, line: str, why: str
) -> None:
    edited = edit(
        bundle,
        tmp_path / "bundle",
        lambda text: text.replace("    clear(state->sums", f"    {line}\n    clear(state->sums", 1),
    )
    with pytest.raises(
        InputError, match=f"network.c: the compiled program failed .{why}.*export the network again"
    ):
        open_engine("c", edited).run(example_frames(3))


@needs_cc
def test_a_change_by_hand_that_the_manifest_does_not_know_is_refused(
    bundle: Bundle, tmp_path: Path
) -> None:
    shutil.copytree(bundle.path, tmp_path / "bundle")
    with open(tmp_path / "bundle" / bundles.C_SOURCE, "a") as file:
        file.write("\n")
    with pytest.raises(InputError, match=r"network\.c: differs from what was exported"):
        bundles.load(tmp_path / "bundle")


def test_a_bundle_without_the_file_says_how_to_get_it(bundle: Bundle, tmp_path: Path) -> None:
    bare = bundles.write(
        tmp_path / "bundle", bundle.program, bundle.contract, bundle.classes, ORIGIN, [], {}
    )
    with pytest.raises(InputError, match=r"holds no network\.c; export again with --target all"):
        open_engine("c", bare)
