"""The run: the folder that a training writes."""

import json
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tmkt.datasets.splits import Ranges
from tmkt.errors import InputError, cannot_read, explain
from tmkt.events.coverage import Coverage, describe_cut
from tmkt.files import read_text
from tmkt.recipe import Recipe, parse_recipe
from tmkt.toml import load_toml

if TYPE_CHECKING:
    from tmkt.networks import SpikingNetwork

INFO = "run.json"
RECIPE = "recipe.toml"
MODEL = "model.safetensors"
CALIBRATION = "calibration.safetensors"
CHECKPOINT = "checkpoint.safetensors"
TEACHER = "teacher.safetensors"
TEACHER_CHECKPOINT = "teacher-checkpoint.safetensors"
METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
LOCK = ".lock"  # of the process that trains there

# The most training recordings that a run keeps for the quantiser, and that calibrate a .nir file
CALIBRATION_RECORDINGS = 100
MAX_CALIBRATION_BYTES = 2**30  # of their frames: fewer are drawn where all would take more

# Said of a test where no recordings were tested
SIMULATED = "simulated from held-out images"


_Count = Annotated[int, Field(ge=0, le=2**53)]
_Share = Annotated[float, Field(ge=0, le=1)]


class _Test(BaseModel):
    model_config = ConfigDict(strict=True)
    samples: _Count
    accuracy: _Share | None
    classes: list[str] | None = None  # that were tested, where these are not all


class _Grid(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    bits: int = Field(ge=2, le=8)
    step: int = Field(ge=2, le=128)
    scale: int = Field(ge=1)


class _OutsideBins(BaseModel):
    model_config = ConfigDict(strict=True)
    recordings: _Count
    events_median: _Share
    events_worst: _Share
    time_median: _Share
    time_worst: _Share
    longest_us: _Count


class _Info(BaseModel):
    """The keys of run.json that a reader relies on; other keys are only passed on."""

    model_config = ConfigDict(strict=True)
    sensor: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    classes: list[str] = Field(min_length=1)
    trained_on: list[str]
    images_trained_on: Ranges
    frames_seen: list[str] | None = None  # of "folders": digests (tmkt.datasets.seen)
    outside_bins: _OutsideBins | None = None
    protocol: str | None = None
    recordings: dict[str, _Count] | None = None
    images: _Count | None = None
    test: _Test
    quantisation: dict[str, _Grid] | None = (
        None  # of a run that was trained on integers: each layer's
    )


@dataclass(frozen=True)
class Run:
    """A finished training. `info` holds dataset, sensor, classes, trained_on (instance ids), static
    images used, versions and the test result.
    """

    path: Path
    recipe: Recipe
    info: dict[str, Any]

    def load_network(self) -> "SpikingNetwork":
        """Load the trained network, in evaluation mode. Needs torch."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from tmkt.networks import SpikingNetwork

        net = SpikingNetwork(
            self.recipe.network, (2, *self.info["sensor"]), len(self.info["classes"])
        )
        try:
            net.load_state_dict(load_file(self.path / MODEL))
        except OSError as error:
            raise cannot_read(self.path / MODEL, error) from None
        except (SafetensorError, RuntimeError) as error:
            raise InputError(
                f"{self.path / MODEL}: not the weights of this run"
                f" ({str(error).splitlines()[0][:100]}); train again"
            ) from None
        return net.eval()

    def load_calibration(self) -> NDArray[np.uint8]:
        """Load frames [N, T, 2, H, W] of the training recordings, which the quantiser may look at:
        an export needs the run alone.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            frames: NDArray[np.uint8] = load_file(self.path / CALIBRATION)["frames"]
        except (SafetensorError, KeyError, FileNotFoundError) as error:
            raise InputError(
                f"{self.path / CALIBRATION}: no calibration frames ({str(error)[:100]}); train"
                " again"
            ) from None
        except OSError as error:
            raise cannot_read(self.path / CALIBRATION, error) from None
        expected = (self.recipe.data.bins, 2, *self.info["sensor"])
        dtype = np.float32 if self.recipe.data.frames == "float" else np.uint8
        if frames.dtype != dtype or frames.shape[1:] != expected or not len(frames):
            found = f"{frames.dtype} {frames.shape}"
            raise InputError(
                f"{self.path / CALIBRATION}: frames {found}, expected {np.dtype(dtype)} of (N,"
                f" *{expected}); train again"
            )
        return frames

    def load_calibration_labels(self) -> NDArray[np.int64] | None:
        """Load the classes [N] of the calibration frames; None for a run that did not keep them."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path / CALIBRATION, "np") as file:
                labels = file.get_tensor("labels")
        except (SafetensorError, OSError):
            return None
        return labels.astype(np.int64) if labels.ndim == 1 else None

    def describe_cut(self) -> str | None:
        """Say how much of the recordings the run's bins leave out; None for nothing, and where no
        recordings were read.
        """
        found = self.info.get("outside_bins")
        if found is None:
            return None
        data = self.recipe.data
        options = ("--set data.bins=", "--set data.bin_us=")
        line = describe_cut(Coverage(**found), data.bins, data.bin_us, *options)
        return None if line is None else f"{line}, in a new training"


def load_run(path: Path) -> Run:
    """Open a finished run; InputError if there is none or it was not finished."""
    if not (path / RECIPE).is_file():
        found = "holds no recipe.toml" if path.exists() else "no such folder"
        raise InputError(
            f"{path}: {found}, expected a run; make one with: tmkt train RECIPE --out"
            f" {quote(str(path))}"
        )
    if not (path / INFO).is_file() or not (path / MODEL).is_file():
        raise InputError(
            f"{path}: this training is not finished; finish it with: tmkt train ... --out"
            f" {quote(str(path))} --resume"
        )
    recipe = load_run_recipe(path)
    try:
        text = read_text(path / INFO)
        _Info.model_validate_json(text)
        info = json.loads(text)
    except ValidationError as error:
        raise InputError(f"{path / INFO}: damaged, {explain(error)}; train again") from None
    except OSError as error:
        raise cannot_read(path / INFO, error) from None
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path / INFO}: damaged ({type(error).__name__}: {str(error)[:100]}); train again"
        ) from None
    return Run(path, recipe, info)


def load_run_recipe(path: Path) -> Recipe:
    """Load the resolved recipe of a run, finished or not; InputError if it is damaged."""
    try:
        values = load_toml(path / RECIPE)
    except OSError as error:
        raise cannot_read(path / RECIPE, error) from None
    except ValueError as error:
        raise InputError(f"{path / RECIPE}: damaged ({str(error)[:100]}); train again") from None
    return parse_recipe(values, str(path / RECIPE))
