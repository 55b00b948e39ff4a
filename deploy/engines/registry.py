"""Registry of the engines: opens one by its name."""

from collections.abc import Callable, Sequence

from tmkt.bundle import Bundle
from tmkt.deploy.engines import lava
from tmkt.deploy.engines.c import CEngine
from tmkt.deploy.engines.float import FloatEngine
from tmkt.deploy.engines.onnx import OnnxEngine
from tmkt.deploy.engines.simulator import SimulatorEngine
from tmkt.deploy.engines.types import ENGINES, Engine
from tmkt.errors import InputError, NotInstalled, nearest

USUAL = ("simulator", "onnx", "float")  # that are compared where nobody says which


def open_engine(
    name: str,
    bundle: Bundle,
    progress: Callable[[int], None] | None = None,
    threads: int | None = None,
) -> Engine:
    """Open an engine for a bundle. Raises InputError for an unknown name, and NotInstalled for a
    missing library.

    `progress`: called during a run with the number of samples that are done; only by Lava, the one
    engine slow enough to need it.
    `threads`: of the simulator and of ONNX Runtime; all cores if None.
    """
    if name == "simulator":
        return SimulatorEngine(bundle, threads)
    if name == "onnx":
        return OnnxEngine(bundle, threads)
    if name == "torch":
        try:  # imported here: hosts that run bundles need no torch
            from tmkt.deploy.engines.torch import TorchEngine
        except ModuleNotFoundError:
            raise NotInstalled(
                "engine 'torch': torch is not installed",
                "run: pip install torch, or choose --engine simulator",
            ) from None
        return TorchEngine(bundle.program)
    if name == "c":
        return CEngine(bundle)
    if name == "lava":
        if not lava.installed():
            raise NotInstalled("engine 'lava': Lava is not installed", lava.install_hint())
        return lava.LavaEngine(bundle, progress)
    if name == "float":
        return FloatEngine(bundle, threads)
    raise InputError(
        f"engine {name!r}: unknown, choose from {', '.join(ENGINES)}{nearest(name, list(ENGINES))}"
    )


def installed_engines(names: Sequence[str], bundle: Bundle) -> tuple[list[str], list[str]]:
    """Tell which engines can run a bundle here, and of the others, in a line each, how to install
    them.
    """
    found, missing = [], []
    for name in names:
        try:
            open_engine(name, bundle)
        except NotInstalled as error:
            missing.append(f"{name}: not installed, left out; {error.hint}")
        else:
            found.append(name)
    return found, missing
