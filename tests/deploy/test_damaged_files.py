"""Files of a bundle, damaged while their hashes say that they are right: engines end in one clear
line, or run something else.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from damage import damaged
from example_bundles import example_frames, example_parts, write_example

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.deploy.engines.lava import LavaEngine, installed
from tmkt.errors import InputError
from tmkt.export.targets.lava import write_lava
from tmkt.nir.float_network import FloatNetwork
from tmkt.program import file as program_file
from tmkt.program import model

# Runs the damaged files of a folder through an engine, one after the other, in a process whose
# memory is bounded; prints how many were refused.
SCRIPT = """
import sys, warnings
from pathlib import Path
import numpy as np
from tmkt import bundle
from tmkt.deploy.engines.registry import open_engine
from tmkt.errors import InputError
warnings.simplefilter('ignore')
folder, engine, name = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
opened, frames = bundle.load(folder / 'bundle'), np.load(folder / 'frames.npy')
refused = 0
for path in sorted((folder / 'damaged').iterdir()):
    opened.contents[name] = path.read_bytes()
    try:
        with np.errstate(all='ignore'):
            open_engine(engine, opened, threads=1).run(frames)
    except InputError as error:
        refused += 1
        if chr(10) in str(error) or len(str(error)) > 500 or 'Traceback' in str(error):
            sys.exit(f'{path.name}: {error}')
    except Exception as error:
        sys.exit(f'{path.name}: {type(error).__name__}: {error}')
print(refused)
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_example(tmp_path_factory.mktemp("damaged") / "bundle", example_parts())


def refusal(call: Callable[[], object]) -> str | None:
    """Return the refusal that a call raises, if any."""
    try:
        call()
    except InputError as error:
        return str(error)
    return None


def assert_lines(refusals: list[str | None], least: int) -> None:
    lines = [line for line in refusals if line is not None]
    assert len(lines) >= least
    assert all("\n" not in line and len(line) < 500 for line in lines)


@pytest.mark.parametrize(
    ("engine", "name"),
    [("onnx", bundles.ONNX), ("float", bundles.ONNX_FLOAT), ("float", bundles.NIR)],
)
def test_engines_refuse_damaged_files_in_one_line(
    bundle: Bundle, tmp_path: Path, engine: str, name: str
) -> None:
    resource = pytest.importorskip("resource", reason="limits of a process are POSIX")
    write_example(tmp_path / "bundle", example_parts(), files=[name])
    np.save(tmp_path / "frames.npy", example_frames(1))
    (tmp_path / "damaged").mkdir()
    for i, content in enumerate(damaged((bundle.path / name).read_bytes(), 80)):
        (tmp_path / "damaged" / f"{i:03}").write_bytes(content)
    memory = (
        16 * 2**30
    )  # of addresses, of which most are never touched: libraries reserve gigabytes
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, tmp_path, engine, name],
        capture_output=True,
        text=True,
        timeout=200,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory)),
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-500:])
    assert done.stdout.strip().isdigit(), done.stdout[-500:]  # nothing else is printed
    assert done.stderr == ""
    assert 40 <= int(done.stdout) <= 80


def test_a_nir_file_whose_strings_would_hang_libhdf5_is_refused(
    bundle: Bundle, tmp_path: Path
) -> None:
    content = bytearray((bundle.path / bundles.NIR).read_bytes())
    at = content.index(b"GCOL") + 16
    content[at : at + 16] = bytes(16)  # no object, but free space of no size
    (tmp_path / "network.nir").write_bytes(content)
    assert "damaged heap of strings" in str(
        refusal(lambda: FloatNetwork.load(tmp_path / "network.nir"))
    )


def test_a_damaged_program_is_refused_in_one_line_or_within_all_ranges(
    bundle: Bundle, tmp_path: Path
) -> None:
    refusals = []
    for content in damaged((bundle.path / bundles.PROGRAM).read_bytes(), 400):
        (tmp_path / "program").write_bytes(content)
        refusals.append(refusal(lambda: model.check(program_file.load(tmp_path / "program"))))
    assert_lines(refusals, 200)


def test_a_damaged_manifest_is_refused_in_one_line(tmp_path: Path) -> None:
    write_example(tmp_path / "bundle", example_parts())
    manifest = tmp_path / "bundle" / bundles.MANIFEST
    refusals = []
    for content in damaged(manifest.read_bytes(), 100):
        manifest.write_bytes(content)
        refusals.append(refusal(lambda: bundles.load(tmp_path / "bundle")))
    assert_lines(refusals, 50)


@pytest.mark.lava
@pytest.mark.skipif(not installed(), reason="Lava is not installed")
def test_lava_ends_on_a_damaged_netx_file(bundle: Bundle) -> None:
    write_lava(bundle.program, bundle.path / bundles.LAVA)
    sound = (bundle.path / bundles.LAVA).read_bytes()
    manifest = {**bundle.manifest, "files": {**bundle.manifest["files"], bundles.LAVA: {}}}
    refusals = []
    for content in damaged(sound, 6, seed=3):
        engine = LavaEngine(replace(bundle, manifest=manifest, contents={bundles.LAVA: content}))
        refusals.append(refusal(partial(engine.run, example_frames(1))))
    assert_lines(refusals, 1)
