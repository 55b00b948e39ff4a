"""The dense loop's products for Arm, compiled for it and run by an emulator: Linux programs of
their own, since numba compiles for this processor alone.

`make emulator` installs qemu-user; without it the tests are skipped.
"""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir
from numpy.typing import NDArray

from tmkt.program.simulator.packing import BLOCK, GROUP, pack
from tmkt.program.simulator.products import KNOWN, LARGEST, _Writer
from tmkt.program.simulator.simd import INT8, INT16, INT32, INT64

EMULATOR = shutil.which("qemu-aarch64")
ARM = next(one for one in KNOWN if one.feature == "dotprod")
CODE, DATA = 0x400000, 0x800000  # addresses, in pages of their own
HEADER, SEGMENT = 64, 56  # bytes of ELF's headers
SUPERVISOR_CALL, WRITE, EXIT = 0xD4000001, 64, 93  # of Linux, whose number stands in x8

pytestmark = pytest.mark.skipif(
    EMULATOR is None and "TMKT_REQUIRE_EMULATOR" not in os.environ,
    reason="needs qemu-aarch64: make emulator",
)


def compiled(
    blocks: int, numbers: dict[str, int], at: dict[str, int], kind: ir.IntType
) -> tuple[str, bytes]:
    """Compile a function that multiplies windows once: its assembly, and its machine code.

    `numbers`: those of `products_of`. `at`: addresses of its arrays.
    """
    module = ir.Module()
    module.triple = "aarch64-unknown-linux-gnu"
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "multiply")
    builder = ir.IRBuilder(function.append_basic_block())

    def array(name: str, element: ir.IntType) -> ir.Value:
        return builder.inttoptr(ir.Constant(INT64, at[name]), element.as_pointer())

    whole = {name: ir.Constant(INT64, value) for name, value in numbers.items()}
    _Writer(builder, ARM, blocks).windows(
        [
            array("values", INT8),
            array("places", INT64),
            *(whole[name] for name in ("first", "pitch", "rows", "groups", "flush")),
            array("weights", INT8),
            whole["begin"],
            ir.Constant(INT32, numbers["shift"]),
            ir.Constant(INT32, numbers["keep"]),
            array("out", kind),
            ir.Constant(INT64, 0),
            whole["apart"],
            ir.Constant(ir.IntType(1), 1),
            array("out", kind),
        ]
    )
    builder.ret_void()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(module.triple).create_target_machine(
        features="+neon,+dotprod", opt=3
    )
    parsed = llvm.parse_assembly(str(module))
    return machine.emit_assembly(parsed), _text(machine.emit_object(parsed))


def _text(object_file: bytes) -> bytes:
    """Take the code out of an ELF object, which must need no linker."""
    (sections_at,) = struct.unpack_from("<Q", object_file, 40)
    size, count, names = struct.unpack_from("<HHH", object_file, 58)
    headers = [
        struct.unpack_from("<IIQQQQIIQQ", object_file, sections_at + i * size) for i in range(count)
    ]

    def name(header: tuple[int, ...]) -> bytes:
        begin = headers[names][4] + header[0]
        return object_file[begin : object_file.index(b"\0", begin)]

    found = {name(header): object_file[header[4] : header[4] + header[5]] for header in headers}
    assert b".rela.text" not in found
    return found[b".text"]


def around(code: bytes, address: int, size: int) -> bytes:
    """Put before a function what calls it, writes `size` bytes from `address` on, and ends."""

    def put(register: int, number: int) -> list[int]:
        low, high = number & 0xFFFF, number >> 16
        return [0xD2800000 | low << 5 | register, 0xF2A00000 | high << 5 | register]

    after = [*put(0, 1), *put(1, address), *put(2, size), *put(8, WRITE), SUPERVISOR_CALL]
    after += [*put(0, 0), *put(8, EXIT), SUPERVISOR_CALL]
    call = 0x94000000 | 1 + len(after)  # branch with link, so many words on
    return struct.pack(f"<{1 + len(after)}I", call, *after) + code


def program(code: bytes, data: bytes) -> bytes:
    """Make an executable of code and data, at CODE and DATA, for Linux on Arm."""
    begin = HEADER + 2 * SEGMENT
    header = struct.pack(
        "<4sBBBBQHHIQQQIHHHHHH",
        b"\x7fELF",
        *(2, 1, 1, 0, 0),  # 64 bits, little endian
        *(2, 183, 1),  # executable, AArch64
        CODE + begin,
        HEADER,
        *(0, 0, HEADER, SEGMENT, 2, 0, 0, 0),
    )
    readable, executable, writable = 4, 1, 2
    whole = begin + len(code)
    offset = -(-whole // 4096) * 4096
    segments = b"".join(
        struct.pack("<IIQQQQQQ", 1, flags, at, address, address, size, size, 4096)
        for flags, at, address, size in (
            (readable | executable, 0, CODE, whole),
            (readable | writable, offset, DATA, len(data)),
        )
    )
    return (header + segments + code).ljust(offset, b"\0") + data


@pytest.mark.parametrize("kind", [INT32, INT16], ids=["int32", "int16"])
@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("extreme", [127, -128, None])
def test_arms_products_of_bytes_are_exact(
    tmp_path: Path, extreme: int | None, blocks: int, kind: ir.IntType
) -> None:
    """The greatest values and weights of either sign, and random ones, which are added to what is
    there.
    """
    assert EMULATOR is not None, "TMKT_REQUIRE_EMULATOR is set, and qemu-aarch64 is not installed"
    rows, inputs, step = 3, 21, 7
    rng = np.random.default_rng(0)
    pitch = inputs + ARM.positions * step
    shape = (rows * inputs, blocks * BLOCK)
    weight = rng.integers(-128, 128, shape) if extreme is None else np.full(shape, extreme)
    values = np.full(rows * pitch + GROUP, LARGEST, np.uint8)
    before = np.zeros((ARM.positions, blocks * BLOCK), f"i{kind.width // 8}")
    if extreme is None:
        values[:] = rng.integers(0, LARGEST + 1, values.size)
        before[:] = rng.integers(-9, 10, before.shape)
    if kind == INT16:  # twice a sum of 63 products must fit
        values >>= 6
    places = step * np.concatenate([[0], rng.permutation(ARM.positions)])
    packed = pack(weight.astype(np.int8), rows, 1)
    arrays = {"values": values, "places": places, "weights": packed, "out": before}
    at, data = {}, b""
    for name, one in arrays.items():
        at[name] = DATA + len(data)
        data += one.tobytes() + bytes(-one.nbytes % 64)
    numbers = {"first": 1, "pitch": pitch, "rows": rows, "groups": -(-inputs // GROUP)}
    numbers |= {"flush": 1, "begin": 0, "shift": 1, "keep": -1, "apart": blocks * BLOCK}
    assembly, code = compiled(blocks, numbers, at, kind)
    assert "sdot" in assembly
    file = tmp_path / "multiply"
    file.write_bytes(program(around(code, at["out"], before.nbytes), data))
    file.chmod(0o700)
    done = subprocess.run([EMULATOR, str(file)], capture_output=True, check=True, timeout=60)
    found = np.frombuffer(done.stdout, before.dtype).reshape(before.shape)
    np.testing.assert_array_equal(found, expected(values, places[1:], weight, pitch, before))


def expected(
    values: NDArray[np.uint8],
    places: NDArray[np.int64],
    weight: NDArray[np.int64],
    pitch: int,
    before: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Multiply plainly; the sums are shifted by one bit and added to what was there."""
    rows = 3
    inputs = len(weight) // rows
    windows = [
        np.concatenate([values[place + r * pitch :][:inputs] for r in range(rows)])
        for place in places
    ]
    return 2 * (np.array(windows, np.int64) @ weight) + before
