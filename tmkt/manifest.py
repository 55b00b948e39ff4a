"""Schema of a bundle's manifest: what a reader relies on is checked before it is used."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tmkt.datasets.splits import Ranges
from tmkt.errors import InputError
from tmkt.events.channels import ChannelContract, Contract
from tmkt.events.filters import network_filters
from tmkt.events.frames import InputContract

# Ours: a damaged manifest must not ask for all memory.
MAX_BINS = 10_000
MAX_FILTERS = 16


_Side = Annotated[int, Field(ge=1)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)


class Input(_Part):
    """The frames that the network takes: of a camera (`sensor`, height and width), or of channels
    (`shape`).
    """

    model_config = ConfigDict(extra="forbid")
    sensor: tuple[_Side, _Side] | None = None
    shape: tuple[_Side] | tuple[_Side, _Side, _Side] | None = None
    bins: int = Field(ge=1, le=MAX_BINS)
    bin_us: int = Field(ge=1, le=2**31)
    max_count: int = Field(ge=1, le=255)
    filters: Annotated[tuple[str, ...], Field(max_length=MAX_FILTERS)] = ()

    @model_validator(mode="after")
    def _one(self) -> "Input":
        if (self.sensor is None) == (self.shape is None):
            raise ValueError("sensor and shape: expected one of them")
        if self.filters and self.sensor is None:
            raise ValueError("filters without a sensor: channels have none")
        try:
            network_filters(self.filters)
        except InputError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def contract(self) -> Contract:
        """The contract that recordings are read by."""
        steps = (self.bins, self.bin_us, self.max_count)
        if self.sensor is not None:
            return InputContract(self.sensor, *steps, self.filters)
        assert self.shape is not None
        return ChannelContract(self.shape, *steps)


class File(_Part):
    """One of the bundle's files."""

    sha256: str
    bytes: int


class _Origin(_Part):
    """The training, or the recordings of a calibration, that the network comes from."""

    dataset: str
    trained_on: list[str]
    images_trained_on: Ranges
    recipe: dict[str, dict[str, Any]] = {}
    # of "folders": other recordings that were seen, and digests of all (tmkt.datasets.seen)
    validated_on: list[str] | None = None
    frames_seen: list[str] | None = None


_Size = Annotated[float, Field(ge=-1e30, le=1e30)]  # so large that only damage is refused


class _LayerReport(_Part):
    """The shares of a quantisation report that are shown to people, of one layer."""

    layer: str
    grid_used: _Size | None = None
    clipped_weights: _Size | None = None
    zero_weights: _Size | None = None
    weight_error_rms: _Size | None = None
    spike_rate: _Size | None = None
    spike_rate_change: _Size | None = None
    silent_neurons: _Size | None = None
    silent_neurons_float: _Size | None = None
    saturated_neurons: _Size | None = None
    same_class: _Size | None = None
    logit_error: _Size | None = None
    accuracy: _Size | None = None
    accuracy_float: _Size | None = None
    calibration_recordings: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> "_LayerReport":
        for of, needed in (
            ("same_class", "calibration_recordings"),
            ("accuracy", "accuracy_float"),
        ):
            if getattr(self, of) is not None and getattr(self, needed) is None:
                raise ValueError(f"{of} without {needed}")
        return self


class Manifest(_Part):
    """The manifest's keys that a reader relies on; other keys are only passed on."""

    version: int = Field(ge=1)
    input: Input
    classes: list[str]
    nothing: Annotated[int, Field(ge=0)] | None = None
    files: dict[str, File]
    origin: _Origin
    quantisation: list[_LayerReport]

    @model_validator(mode="after")
    def _nothing_is_a_class(self) -> "Manifest":
        if self.nothing is not None and self.nothing >= len(self.classes):
            raise ValueError(f"nothing: class {self.nothing} of {len(self.classes)}")
        return self
