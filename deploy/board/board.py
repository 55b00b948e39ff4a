"""A bundle's C on a bare board in QEMU: memory, instructions of an inference, and its answers.

The emulator counts an instruction a nanosecond (`-icount shift=0`), so a board's own clock tells
how many there were. That is no time: real processors take one cycle or several for each, and wait
for their flash.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.errors import InputError, nearest

SOURCES = Path(__file__).parent
# Optimised, and without what the program does not call.
FLAGS = (
    "-std=c99 -O2 -ffreestanding -nostdlib -ffunction-sections -fdata-sections -Wl,--gc-sections"
)
QEMU = (
    "-display none -monitor none -serial none -icount shift=0"
    " -semihosting-config enable=on,target=native"
)


@dataclass(frozen=True)
class Board:
    """A processor and the machine of QEMU that has it.

    `unit`: instructions in one count of the board's clock. An MPS2 runs at 25 MHz, an MPS3 at 32.
    """

    compiler: str
    flags: str
    emulator: str
    files: str
    unit: float


def _arm(processor: str, machine: str, unit: float = 40) -> Board:
    return Board(
        "arm-none-eabi-gcc",
        f"-mcpu={processor} -mthumb",
        f"qemu-system-arm -M {machine}",
        "cortex-m",
        unit,
    )


BOARDS = {
    # There is no emulated Cortex-M0 with room: a Cortex-M3 runs its instructions, and no others.
    "cortex-m0": _arm("cortex-m0", "mps2-an385"),
    "cortex-m4": _arm("cortex-m4", "mps2-an386"),
    "cortex-m7": _arm("cortex-m7", "mps2-an500"),
    # With vectors (Helium).
    "cortex-m55": _arm("cortex-m55 -mfloat-abi=hard", "mps3-an547", 31.25),
    "rv32": Board(
        "riscv64-unknown-elf-gcc",
        "-march=rv32imac_zicsr -mabi=ilp32 -mcmodel=medany",
        "qemu-system-riscv32 -M virt -bios none",
        "riscv",
        1,
    ),
}
PACKAGES = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "riscv64-unknown-elf-gcc": "gcc-riscv64-unknown-elf",
    "qemu-system-riscv32": "qemu-system-misc",
}


@dataclass(frozen=True)
class OnBoard:
    """Run of a program on a board: bytes of flash (code and constants), of RAM (state and one
    frame) and of the stack at its deepest, instructions of a mean inference, and the read-outs
    int64 [N, K].
    """

    board: str
    flash_bytes: int
    ram_bytes: int
    stack_bytes: int
    instructions: float
    readout: NDArray[np.int64]


def missing(name: str) -> list[str]:
    """List the programs that a board needs and this machine lacks."""
    board = BOARDS[name]
    needed = (board.compiler, board.emulator.split()[0])
    return [program for program in needed if shutil.which(program) is None]


def need_board(name: str) -> None:
    """Raise InputError for a board that is not known or cannot be emulated here."""
    if name not in BOARDS:
        raise InputError(
            f"board {name!r}: unknown, known are {', '.join(BOARDS)}{nearest(name, list(BOARDS))}"
        )
    if lacks := missing(name):
        packages = " ".join(PACKAGES[program] for program in lacks)
        raise InputError(
            f"board {name!r}: found no {' and no '.join(lacks)}; install them (Debian, Ubuntu:"
            f" apt install {packages})"
        )


def run_on_board(bundle: Bundle, name: str, frames: NDArray[np.uint8]) -> OnBoard:
    """Compile a bundle's C for a board and run frames uint8 [N, T, *input shape] in the emulator,
    each sample from states of zero.

    It runs the code that the bundle holds. InputError for a board that cannot be emulated here, and
    for a network that does not fit its memory.
    """
    files = {file: bundle.read(file) for file in (bundles.C_SOURCE, bundles.C_HEADER)}
    return run_c(files, str(bundle.path), name, frames, bundle.program.classes)


def run_c(
    files: dict[str, bytes], source: str, name: str, frames: NDArray[np.uint8], classes: int
) -> OnBoard:
    """Do what `run_on_board` does with `files`, a network.c and a network.h that come from `source`
    and have the functions that measure.c calls.
    """
    need_board(name)
    board = BOARDS[name]
    with TemporaryDirectory(prefix="tmkt-board-") as root:
        folder = Path(root)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        _compile(source, name, board, folder)
        text, data, bss = _sizes(board, folder)
        np.ascontiguousarray(frames).tofile(folder / "frames")
        done = subprocess.run(
            [*board.emulator.split(), *QEMU.split(), "-kernel", "program"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        answers = folder / "answers"
        found = np.fromfile(answers, "<u4") if answers.is_file() else np.zeros(0, "<u4")
        if done.returncode != 0 or len(found) != len(frames) * classes + 3:
            raise InputError(
                f"{source}: its C failed on {name} (exit code {done.returncode}); export the"
                " network again"
            )
    counted = int(found[-3]) | int(found[-2]) << 32
    return OnBoard(
        board=name,
        flash_bytes=text + data,
        ram_bytes=data + bss,
        stack_bytes=int(found[-1]),
        instructions=counted * board.unit / len(frames),
        readout=found[:-3].view("<i4").astype(np.int64).reshape(len(frames), classes),
    )


def _compile(source: str, name: str, board: Board, folder: Path) -> None:
    sources = [str(SOURCES / file) for file in ("board.c", f"{board.files}.c", "measure.c")]
    done = subprocess.run(
        [
            board.compiler,
            *FLAGS.split(),
            *board.flags.split(),
            f"-I{SOURCES}",
            "-I.",
            *sources,
            bundles.C_SOURCE,
            "-T",
            str(SOURCES / f"{board.files}.ld"),
            "-lgcc",
            "-o",
            "program",
        ],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode == 0:
        return
    lines = done.stderr.splitlines()
    if any("will not fit in region" in line or "overflowed by" in line for line in lines):
        raise InputError(
            f"{source}: does not fit {name}, whose emulated board has 512 kB of flash and 512"
            " kB of RAM; use a smaller network or fewer bits"
        )
    why = next((line for line in lines if "error" in line), f"exit code {done.returncode}")
    raise InputError(
        f"{source}: {board.compiler} cannot compile its C ({why[:150]}); export the network again"
    )


def _sizes(board: Board, folder: Path) -> tuple[int, int, int]:
    tool = board.compiler.removesuffix("gcc") + "size"
    done = subprocess.run([tool, "program"], cwd=folder, capture_output=True, text=True, check=True)
    text, data, bss = done.stdout.splitlines()[1].split()[:3]
    return int(text), int(data), int(bss)
