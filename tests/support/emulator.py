"""Boards that this machine can emulate, which `make emulator` installs."""

import os

import pytest

from tmkt.deploy.board.board import missing


def need_emulator(board: str) -> None:
    """Skip the test where a board's compiler or emulator is missing; fail it for a Cortex-M where
    TMKT_REQUIRE_EMULATOR is set, as in CI.
    """
    lacks = missing(board)
    if not lacks:
        return
    required = os.environ.get("TMKT_REQUIRE_EMULATOR") and board.startswith("cortex")
    raise (pytest.fail if required else pytest.skip).Exception(
        f"no {' and no '.join(lacks)}: make emulator"
    )
