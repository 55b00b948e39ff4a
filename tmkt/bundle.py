"""The bundle: the folder that an export writes and that everything later reads. docs/bundle.md
specifies it.
"""

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from shlex import quote
from typing import Any

from pydantic import ValidationError

from tmkt import __version__
from tmkt.errors import InputError, cannot_read, explain
from tmkt.events.channels import Contract
from tmkt.events.frames import InputContract
from tmkt.files import open_plain, read_text, writing_folder
from tmkt.manifest import File, Input, Manifest
from tmkt.parts import is_replaced, put_back
from tmkt.program import file as program_file
from tmkt.program.model import Program
from tmkt.program.ranges import prove

# Version 1 had networks for event cameras alone, version 2 no filters; the first that suffices is
# written.
FORMAT, FORMAT_VERSION = "tmkt-bundle", 3
MAX_BYTES = 2**30  # of all files: ours, about 50 million weights in all formats
LONGEST_READING_S = 10.0  # of a bundle that is replaced again and again
OF_A_RUN = "recipe.toml"  # what tmkt.runs, which needs torch, calls a run's recipe
MANIFEST, PROGRAM, LAVA = "manifest.json", "program.safetensors", "loihi.net"
NIR, NIR_INTEGERS = "network.nir", "integers.nir"
ONNX, ONNX_FLOAT = "network.onnx", "network-float.onnx"
C_SOURCE, C_HEADER = "network.c", "network.h"
FILES = (PROGRAM, LAVA, NIR, NIR_INTEGERS, ONNX, ONNX_FLOAT, C_SOURCE, C_HEADER)


@dataclass(frozen=True)
class Bundle:
    """A checked bundle: its folder, its manifest (a plain dictionary), its contract and program.

    `contents` holds the bytes of all files as they were checked: whatever happens to the folder
    later, they are what runs.
    """

    path: Path
    manifest: dict[str, Any]
    contract: Contract
    program: Program
    contents: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def classes(self) -> list[str]:
        return list(self.manifest["classes"])

    @property
    def nothing(self) -> int | None:
        """The class of noise, for which a stream never decides; None without one."""
        found: int | None = self.manifest.get("nothing")
        return found

    @property
    def camera(self) -> InputContract:
        """The contract of a network for event cameras; InputError for one that reads channels."""
        if isinstance(self.contract, InputContract):
            return self.contract
        raise InputError(
            f"{self.path}: reads {self.contract.channels} channels of spikes, expected a network"
            " for event cameras; choose another bundle"
        )

    def read(self, name: str) -> bytes:
        """Give the content of one of the bundle's files; InputError if the export left it out."""
        if name not in self.manifest["files"]:
            raise InputError(f"{self.path}: holds no {name}; export again with --target all")
        return self.contents[name]


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal."""
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(
    path: Path,
    program: Program,
    contract: Contract,
    classes: list[str],
    origin: dict[str, Any],
    quantisation: list[dict[str, Any]],
    writers: dict[str, Any],
    nothing: int | None = None,
) -> Bundle:
    """Write a bundle and give it back as `load` reads it.

    `writers` maps a file's name to a function that takes the path to write to; the program itself
    is always written. `origin` says how the network was made (run, recipe, training instances),
    `quantisation` is one dictionary a layer. `nothing`: the class of noise. No time stamps: the
    same input gives the same bytes.
    """
    with writing_folder(path, MANIFEST) as folder:
        program_file.save(program, folder / PROGRAM)
        for name, writer in writers.items():
            writer(folder / name)
        files = {
            name: {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size}
            for name in sorted([PROGRAM, *writers])
        }
        manifest = {
            "format": FORMAT,
            "version": _version(contract),
            "tmkt": __version__,
            "input": {key: value for key, value in asdict(contract).items() if value != ()},
            "classes": classes,
            **({} if nothing is None else {"nothing": nothing}),
            "files": files,
            "origin": origin,
            "quantisation": quantisation,
            "ranges": {
                "steps": contract.bins,
                "layers": [found.to_json() for found in prove(program, contract.bins)],
            },
        }
        (folder / MANIFEST).write_text(
            json.dumps(manifest, indent=1) + "\n", encoding="utf-8", newline="\n"
        )
    return load(path)


def _version(contract: Contract) -> int:
    """Give the first version whose readers understand the contract."""
    if not isinstance(contract, InputContract):
        return 2
    return FORMAT_VERSION if contract.filters else 1


def load(path: Path) -> Bundle:
    """Read and check a bundle: format and version, every file's presence, size and hash, the
    program's shapes and ranges, then the contract.

    A bundle that is replaced while it is read is read again; a bundle that a killed export moved
    away is put back. InputError at the first thing that is not as it should be; nothing has run by
    then.
    """
    end = time.monotonic() + LONGEST_READING_S
    while True:
        put_back(path)
        before = _identity(path)
        try:
            return _load(path)
        except InputError:
            changed = _identity(path) != before or (before is None and is_replaced(path))
            if not changed or time.monotonic() > end:
                raise


def _identity(path: Path) -> tuple[int, int] | None:
    """Tell a folder from the one that replaces it; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _describe_other(path: Path) -> str:
    """Say what is where a bundle should be, and the command that makes one."""
    made, beside = quote(str(path)), quote(f"bundles/{path.stem}")
    if (path / OF_A_RUN).is_file():
        return f"is a run, expected a bundle; make one with: tmkt export {made} --out {beside}"
    if path.is_file():
        example = f"{made} --out {beside}" if path.suffix == ".nir" else f"RUN --out {beside}"
        return f"is a file, expected a bundle (a folder); make one with: tmkt export {example}"
    if path.exists():
        return (
            f"holds no {MANIFEST}, expected a bundle; make one with: tmkt export RUN --out {beside}"
        )
    return f"no such folder, expected a bundle; make one with: tmkt export RUN --out {made}"


def _load(path: Path) -> Bundle:
    if not (path / MANIFEST).is_file():
        raise InputError(f"{path}: {_describe_other(path)}")
    try:
        text = read_text(path / MANIFEST)
        contents = {MANIFEST: text.encode()}
        manifest = json.loads(text)
        if manifest["format"] != FORMAT:
            raise InputError(
                f"{path / MANIFEST}: format {manifest['format']!r}, expected {FORMAT!r}; choose a"
                " bundle that tmkt export wrote"
            )
        if manifest["version"] > FORMAT_VERSION:
            raise InputError(
                f"{path}: bundle format {manifest['version']}, this tmkt reads up to"
                f" {FORMAT_VERSION}; update tmkt"
            )
        checked = Manifest.model_validate_json(text)
        if PROGRAM not in checked.files:
            raise ValueError(f"lists no {PROGRAM}")
        total = sum(entry.bytes for entry in checked.files.values())
        if total > MAX_BYTES:
            raise InputError(
                f"{path / MANIFEST}: files of {total} bytes, expected at most {MAX_BYTES}, all of"
                " which are read into memory; export the network again"
            )
        for name, entry in checked.files.items():
            contents[name] = _read_file(path / name, name, entry)
    except ValidationError as error:
        raise InputError(
            f"{path / MANIFEST}: damaged, {explain(error)}; export the network again"
        ) from None
    except OSError as error:
        raise cannot_read(Path(error.filename or path), error) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path / MANIFEST}: damaged ({type(error).__name__}: {str(error)[:100]}); export the"
            " network again"
        ) from None
    contract = checked.input.contract
    program = program_file.from_bytes(contents[PROGRAM], path / PROGRAM)
    if (
        program.input_shape != contract.shape
        or program.max_count != contract.max_count
        or program.classes != len(checked.classes)
    ):
        found = f"{contract} and {len(checked.classes)} classes"
        raise InputError(
            f"{path}: the manifest's input {found} do not fit the program; export the network again"
        )
    return Bundle(path, manifest, contract, program, contents)


def rebinned(bundle: Bundle, bins: int | None, bin_us: int | None, max_count: int | None) -> Bundle:
    """Give the bundle with another binning of recordings than the export's; None keeps what it
    says. InputError for what the program cannot take.
    """
    given = {"bins": bins, "bin_us": bin_us, "max_count": max_count}
    wanted = {
        **asdict(bundle.contract),
        **{name: value for name, value in given.items() if value is not None},
    }
    try:
        contract = Input.model_validate(wanted).contract
    except ValidationError as error:
        raise InputError(
            f"{bundle.path}: {explain(error)}; give another --bins, --bin-us or --max-count"
        ) from None
    if contract.max_count > bundle.program.max_count:
        found = (
            f"--max-count {contract.max_count}, the program was checked for"
            f" {bundle.program.max_count}"
        )
        raise InputError(
            f"{bundle.path}: {found}, expected at most that; export again with a larger --max-count"
        )
    return replace(bundle, contract=contract)


def _read_file(path: Path, name: str, entry: File) -> bytes:
    """Read a file that the manifest lists; InputError if it has other bytes."""
    if "/" in name or "\\" in name or name in ("", ".", ".."):
        raise InputError(
            f"{path}: a bundle's file name must not leave its folder; export the network again"
        )
    if not path.is_file():
        raise InputError(f"{path}: missing from the bundle; export the network again")
    content = path.read_bytes() if path.stat().st_size == entry.bytes else b""
    if len(content) != entry.bytes or hashlib.sha256(content).hexdigest() != entry.sha256:
        raise InputError(
            f"{path}: differs from what was exported (size or SHA-256 do not match the manifest);"
            " export the network again"
        )
    return content
