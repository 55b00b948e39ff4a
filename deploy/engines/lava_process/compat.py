"""Patches that make lava-nc 0.10.0 and lava-dl 0.6.0 run on Python 3.11 to 3.13 without torch.

Both are archived and fail with today's numpy; symptoms were met with numpy 2.4.6 on Python 3.11. A
patch goes when the release that its comment names exists, which for an archived project may be
never. Nothing here changes what Lava computes.
"""

import dataclasses
import functools
import importlib
import multiprocessing
import sys
import traceback
import types
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What netx would import and does not need to run a CUBA network.
_STUBS = (
    "lava.lib.dl.slayer",
    "lava.lib.dl.slayer.neuron",
    "lava.lib.dl.slayer.neuron.rf",
    "lava.lib.dl.netx.sequential_modules",
)
_ABSENT = ("torch", "matplotlib")
_CONV_SETTINGS = ("kernel_size", "stride", "padding", "dilation", "groups")


def prepare() -> None:
    """Patch this process so that `lava.lib.dl.netx` imports and runs.

    Call it once, before anything of Lava is imported, and only in a process that does nothing else:
    it hides torch and matplotlib, silences warnings, and Lava sets the start method of
    `multiprocessing`.
    """
    # Symptom: Lava's and numpy's deprecation warnings fill standard error (or end the run under -W
    # error). Goes with Lava.
    warnings.simplefilter("ignore")
    _hide_training_side()
    _import_var_model()
    _mend_reshape()
    _widen_conv_settings()
    _show_errors_of_children()


class _Hidden:
    """Import finder that hides the modules that must not load.

    Lava's search for models runs every file beside a process, and skips what fails.
    """

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name in _ABSENT:
            raise ModuleNotFoundError(f"{name} is hidden from Lava", name=name)


def _hide_training_side() -> None:
    # Symptom: netx imports lava.lib.dl.slayer, which imports cv2, torchvision and torch (seconds,
    # hundreds of MB, often no import at all), for the parameters of resonate-and-fire neurons only.
    # Goes when netx imports without slayer.
    sys.meta_path.insert(0, _Hidden())
    for name in _STUBS:
        stub = types.ModuleType(name)
        stub.__file__ = __file__  # Lava's compiler asks every module beside a process for its file
        stub.__path__ = []
        sys.modules[name] = stub
    sys.modules["lava.lib.dl.slayer.neuron.rf"].neuron_params = _no_resonate_and_fire  # type: ignore[attr-defined]


def _no_resonate_and_fire(_: object) -> None:
    raise NotImplementedError("resonate-and-fire neurons are not part of an exported network")


def _import_var_model() -> None:
    # Symptom: "ValueError: mutable default <class 'ByteEncoder'>" at import, Python >= 3.11
    # (defaults must be hashable). Goes when lava-nc supports Python 3.11.
    plain = dataclasses.dataclass

    def hashable(cls: type | None = None, /, **options: Any) -> Any:
        if cls is None:
            return functools.partial(hashable, **options)
        return plain(
            cls, **(options | {"unsafe_hash": True} if cls.__name__ == "ByteEncoder" else options)
        )

    dataclasses.dataclass = hashable
    try:
        importlib.import_module("lava.magma.compiler.var_model")
    finally:
        dataclasses.dataclass = plain


def _reshaped(data: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    return np.reshape(data, shape)


def _mend_reshape() -> None:
    # Symptom: "reshape() got an unexpected keyword argument 'newshape'" in any network that
    # flattens, numpy >= 2.4. Goes when lava-nc supports numpy 2.
    ports = importlib.import_module("lava.magma.core.process.ports.ports")
    ports.ReshapePort.get_transform_func_fwd = lambda port: functools.partial(
        _reshaped, shape=port.shape
    )
    ports.ReshapePort.get_transform_func_bwd = lambda port: functools.partial(
        _reshaped, shape=port.old_shape
    )


def _widen_conv_settings() -> None:
    # Symptom: "OverflowError: Python integer 128 out of bounds for int8" in convolutions of maps
    # wider than 127 or with more than 127 groups, numpy >= 2: the settings are held as int8. Goes
    # when lava-nc supports numpy 2.
    models = importlib.import_module("lava.proc.conv.models")
    lava_type = importlib.import_module("lava.magma.core.model.py.type").LavaPyType
    for model in (models.AbstractPyConvModel, models.PyConvModelFixed):
        for name in _CONV_SETTINGS:
            setattr(model, name, lava_type(np.ndarray, np.int32, precision=32))


def _show_errors_of_children() -> None:
    # Symptom: "1 Exception(s) occurred. See output above for details." with nothing above: Lava
    # logs the cause below its own log level. Goes when lava-nc prints it.
    messages = importlib.import_module("lava.magma.runtime.message_infrastructure.multiprocessing")

    def run(process: Any) -> None:
        try:
            multiprocessing.Process.run(process)
            process._cconn.send(None)
        except Exception as error:
            report(error)
            process._cconn.send((error, traceback.format_exc()))

    messages.SystemProcess.run = run


def report(error: BaseException) -> None:
    """Print an error to standard error: the traceback, then the line that the engine shows."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    print(
        f"{''.join(traceback.format_exception(error))}error: {text[:300]}",
        file=sys.stderr,
        flush=True,
    )
