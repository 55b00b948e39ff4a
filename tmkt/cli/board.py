"""What the exported C takes: its memory, and its instructions on a board."""

from typing import TYPE_CHECKING, Any

from tmkt.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tmkt.bundle import Bundle


def check_board(board: str, target: str) -> None:
    """Raise InputError for a board that cannot be emulated, before anything is computed."""
    from tmkt.deploy.board.board import need_board

    if not {"c", "all"} & set(target.replace(" ", "").split(",")):
        raise InputError(f"--board {board}: needs the C, found --target {target}; add c to it")
    need_board(board)


def has_c(bundle: "Bundle") -> bool:
    """Tell whether a bundle holds the C."""
    from tmkt.bundle import C_SOURCE

    return C_SOURCE in bundle.manifest["files"]


def memory(bundle: "Bundle") -> dict[str, int]:
    """Return the bytes of RAM and of constants that a bundle's C takes."""
    from tmkt.export.targets.c import memory_of

    found = memory_of(bundle.program)
    return {"ram_bytes": found.ram_bytes, "flash_bytes": found.flash_bytes}


def describe_memory(bundle: "Bundle") -> str:
    """Say in one line how much memory a bundle's C takes."""
    found = memory(bundle)
    return (
        f"network.c: {found['ram_bytes']:,} bytes of RAM, {found['flash_bytes']:,} of flash for"
        " its constants"
    )


def on_board(bundle: "Bundle", board: str, frames: "NDArray[np.uint8]") -> dict[str, Any]:
    """Run a bundle's C on a board, and compare its read-outs with the simulator's."""
    from tmkt.deploy.board.board import run_on_board
    from tmkt.deploy.engines.registry import open_engine
    from tmkt.deploy.evaluate import answers_of, measure
    from tmkt.deploy.parity.report import REFERENCE

    found = run_on_board(bundle, board, frames)
    expected = answers_of(measure(bundle, open_engine(REFERENCE, bundle), frames))
    synops = float(expected.synops.mean())
    return {
        "board": found.board,
        "recordings": len(frames),
        "flash_bytes": found.flash_bytes,
        "ram_bytes": found.ram_bytes,
        "stack_bytes": found.stack_bytes,
        "instructions": found.instructions,
        "synops": synops,
        "different_answers": int((found.readout != expected.readout).any(1).sum()),
    }
