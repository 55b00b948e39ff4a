"""Recipes: everything that decides a training, in one TOML file."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tmkt.errors import InputError, nearest


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataRecipe(_Section):
    """Which recordings and images, how they are split, and how a recording becomes frames
    (docs/datasets.md).
    """

    name: str
    protocol: Literal["instance-disjoint", "paper"] = (
        "instance-disjoint"  # "paper": the published split, whose images may show what is tested
    )
    shots: int = Field(
        default=0, ge=0
    )  # recorded instances a class to train on, all others are tested; 0: `train_share` of them
    train_share: float = Field(
        default=0.9, gt=0.0, lt=1.0
    )  # of each class's instances, where `shots` is 0 and the protocol ours
    validation: float = Field(
        default=0.0, ge=0.0
    )  # below 1: a share; else so many instances a class. Neither trained on nor tested
    sensor: list[
        Annotated[int, Field(ge=1, le=4096)]
    ] = []  # (height, width) of the network's input; empty: the recordings'
    downsample: int = Field(
        default=1, ge=1, le=4096
    )  # another way to say it: the recordings' sensor divided by this
    frames: Literal["counts", "float"] = (
        "counts"  # "float": the papers' interpolated frames, which no chip takes
    )
    bins: int = Field(default=10, ge=1, le=1000)
    bin_us: int = Field(
        ge=1, le=2**31
    )  # "float" frames have their bins of equal length over the recording instead
    max_count: int = Field(default=1, ge=1, le=255)

    @model_validator(mode="after")
    def _consistent(self) -> "DataRecipe":
        if len(self.sensor) not in (0, 2):
            raise ValueError(f"sensor has {len(self.sensor)} entries, expected [height, width]")
        if self.sensor and self.downsample > 1:
            raise ValueError("sensor and downsample say the same thing; give one of them")
        if self.protocol == "paper" and self.shots:
            raise ValueError(
                "shots is for the instance-disjoint protocol; set data.shots=0 with"
                " data.protocol=paper"
            )
        if self.validation >= 1 and self.validation != int(self.validation):
            raise ValueError(
                f"validation is {self.validation}, expected a share below 1 or a whole number of"
                " instances a class"
            )
        return self


class NetworkRecipe(_Section):
    """Which network. "small" is a chain of one entry a block in `channels`, `strides` and `pools`
    (1 = no pooling); the others are fixed, but for sew-resnet18's four stages, whose `channels` may
    be other than 64, 128, 256 and 512.
    """

    name: Literal["small", "vggsnn", "resnet18", "sew-resnet18", "scnn"] = "small"
    channels: list[Annotated[int, Field(ge=1, le=4096)]] = []
    strides: list[Annotated[int, Field(ge=1)]] = []
    pools: list[Annotated[int, Field(ge=1)]] = []
    tau: float = Field(default=2.0, gt=1.0, le=4096.0)  # in time steps
    threshold: float = Field(default=0.5, gt=0.0)
    surrogate: Literal["atan", "triangle", "rectangle"] = (
        "atan"  # gradient of a spike; "triangle" is Knowledge Transfer's, its SCNN's "rectangle"
    )

    @model_validator(mode="after")
    def _fits_the_family(self) -> "NetworkRecipe":
        given = (
            f"channels, strides and pools have {len(self.channels)}, {len(self.strides)} and"
            f" {len(self.pools)} entries"
        )
        if self.name == "small":
            if not len(self.channels) == len(self.strides) == len(self.pools) > 0:
                raise ValueError(f"{given}; a small network needs equally many, and one at least")
        elif self.strides or self.pools or (self.channels and self.name != "sew-resnet18"):
            raise ValueError(f"{given}; {self.name} is fixed, leave them out")
        elif len(self.channels) not in (0, 4):
            raise ValueError(f"{given}; {self.name} has four stages")
        return self


class StaticRecipe(_Section):
    """What the network sees of an image: "grey", the same still frame at every step, or
    "simulated", the events of a camera that moves.

    All keys but `encoding` describe the simulated camera, whose parameters are drawn anew for each
    recording: a spread of 0 fixes one.
    """

    encoding: Literal["grey", "simulated"] = "grey"
    threshold: float = Field(
        default=0.2, gt=0.0, le=10.0
    )  # change of log intensity that makes an event
    threshold_spread: float = Field(
        default=0.5, ge=0.0, lt=1.0
    )  # of a recording's threshold: up to so much more or less, relative
    pixel_spread: float = Field(
        default=0.2, ge=0.0, le=1.0
    )  # of a pixel's threshold in a recording: standard deviation, relative
    shown: Literal["positive", "negative", "random"] = (
        "random"  # on the screen before the camera: as it is, or dark for light
    )
    dark: float = Field(
        default=0.3, gt=0.0, le=10.0
    )  # light of a black screen, relative to that of a white image
    amplitude_px: float = Field(
        default=5.0, ge=0.0, le=1000.0
    )  # height and base of the triangle that the camera's saccades make
    amplitude_spread: float = Field(
        default=0.3, ge=0.0, lt=1.0
    )  # of the two, each by itself: relative
    direction: float = Field(
        default=0.0, ge=-360.0, le=360.0
    )  # degrees by which the triangle is turned; 0 as N-MNIST's
    direction_spread: float = Field(default=180.0, ge=0.0, le=180.0)  # degrees
    saccade_us: int = Field(
        default=100_000, ge=1000, le=10**9
    )  # length of each of the three saccades
    timing_spread: float = Field(
        default=0.05, ge=0.0, lt=1.0
    )  # of a recording's saccades: relative
    moving: float = Field(
        default=0.8, gt=0.0, le=1.0
    )  # share of a saccade's time in which the camera moves; then it rests
    noise_hz: float = Field(default=0.25, ge=0.0, le=10_000.0)  # background events of a pixel
    noise_on: float = Field(
        default=0.5, ge=0.0, le=1.0
    )  # share of them that are on (1): all, where a pixel's reset leaks
    drop: float = Field(default=0.1, ge=0.0, lt=1.0)  # share of events that are lost
    refractory_us: int = Field(
        default=2_000, ge=0, le=10**9
    )  # a pixel that sent an event is silent for so long
    polarity: Literal["normal", "inverted", "random"] = (
        "random"  # normal: 1 = brighter; inverted: 1 = darker
    )


# What a method's paper publishes where it differs from the other defaults (docs/methods.md).
_PUBLISHED: dict[str, dict[str, Any]] = {
    "kt": {"heads": 2, "loss": "tet", "step_weights": "learned", "statistics": "shared"},
    "ckd": {"heads": 1, "loss": "tet", "step_weights": "learned", "statistics": "shared"},
}


class MethodRecipe(_Section):
    """How the network learns. A method looks at the keys that it has a use for; docs/methods.md
    says which.
    """

    name: Literal["tmkt", "kt", "ckd", "joint", "mix", "finetune", "target-only"]
    loss: Literal["mean", "tet"] = (
        "mean"  # classification: of the logits' time mean, or of each step by itself
    )
    heads: Literal[1, 2] = 1  # 2: the static stream has a head of its own, which is not deployed
    statistics: Literal["apart", "shared"] = (
        "apart"  # deployed batch norm statistics: of the events alone, or of both streams
    )
    step_weights: Literal["fixed", "learned"] = (
        "fixed"  # learned: a coefficient of each step for alignment and classification
    )
    alignment: float = Field(default=0.5, ge=0.0)  # weight of 1 - CKA
    mix_ratio: float = Field(
        default=0.3, ge=0.0, le=1.0
    )  # tmkt: expected share of a mixed sequence that comes from events; 0: no mixup
    mix_ratio_end: float = Field(
        default=0.3, ge=0.0, le=1.0
    )  # where the ratio gets to by the last step; where not given: mix_ratio
    modality_guidance: float = Field(default=0.1, ge=0.0)  # tmkt: weight of MAG
    ratio_perception: float = Field(default=0.1, ge=0.0)  # tmkt: weight of MRP
    real_share: float = Field(
        default=0.25, ge=0.0, le=1.0
    )  # mix: share of a batch that are recordings, the rest are images
    pretrain_share: float = Field(
        default=0.5, gt=0.0, lt=1.0
    )  # finetune: share of the steps that learn from images
    sliding_power: float = Field(
        default=3.0, gt=0.0, le=100.0
    )  # kt, ckd: images are replaced with probability (done steps / steps)^power
    teacher: str = ""  # ckd: a ResNet's weights, .safetensors; empty: one is trained
    teacher_steps: int = Field(default=500, ge=1, le=10**7)  # ckd: for so many steps
    teacher_width: int = Field(default=16, ge=1, le=1024)  # ckd: channels of its first stage
    distillation: float = Field(default=1.0, ge=0.0)  # ckd: weight of distillation at first
    distillation_temperature: float = Field(default=4.0, gt=0.0, le=1000.0)
    distillation_switch: float = Field(
        default=0.5, ge=0.0, le=1.0
    )  # ckd: share of the steps at which the weight has fallen to a half
    distillation_steepness: float = Field(default=30.0, gt=0.0, le=10_000.0)
    likeness_temperature: float = Field(
        default=0.1, ge=0.0, le=1000.0
    )  # ckd: how unlike a replacement's class may be; 0: always the same class

    @model_validator(mode="before")
    @classmethod
    def _published(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        ratio = {"mix_ratio_end": values["mix_ratio"]} if "mix_ratio" in values else {}
        return {**_PUBLISHED.get(str(values.get("name")), {}), **ratio, **values}

    @model_validator(mode="after")
    def _consistent(self) -> "MethodRecipe":
        if self.step_weights == "learned" and (self.loss != "tet" or not self.alignment):
            raise ValueError(
                "step_weights = learned needs loss = tet and an alignment above 0, or nothing holds"
                " the weights between 0 and 1"
            )
        if (
            self.name == "tmkt"
            and self.mix_ratio == self.mix_ratio_end == 0.0
            and (self.modality_guidance or self.ratio_perception)
        ):
            raise ValueError(
                "mix_ratio = 0 leaves guidance and perception nothing to tell; set"
                " modality_guidance and ratio_perception to 0, too"
            )
        return self


class TrainRecipe(_Section):
    """The optimisation."""

    steps: int = Field(ge=1, le=10**7)
    batch: int = Field(default=24, ge=2, le=10**4)  # recordings a step, and as many images
    learning_rate: float = Field(default=5e-3, gt=0.0)
    weight_decay: float = Field(default=0.01, ge=0.0)
    warmup_steps: int = Field(default=20, ge=0, le=10**7)
    ema: float = Field(
        default=0.0, ge=0.0, lt=1.0
    )  # decay of averaged weights, which are then measured and deployed; 0: the last weights
    precision: Literal["fp32", "bf16"] = (
        # "bf16": convolutions and products in bfloat16, for GPUs and for processors that have it
        "fp32"
    )
    recompute: bool = (
        False  # activations are computed again in the backward pass: less memory, a third more time
    )
    shift: int = Field(default=3, ge=0, le=1000)  # augmentation: pixels
    rotation: float = Field(default=10.0, ge=0.0, le=180.0)  # degrees
    zoom: float = Field(default=0.1, ge=0.0, lt=1.0)
    seed: int = Field(default=0, ge=0, lt=2**63)
    threads: int = Field(
        default=2, ge=1, le=256
    )  # part of the recipe: sums depend on it in the last bit


class QatRecipe(_Section):
    """Training on integers, which goes on from a finished run (`tmkt train RUN --qat BITS`);
    docs/quantisation.md.
    """

    # of the weights: "4" for all layers, or one number a layer, "8,4,4,8", or by name,
    # "4,readout=8"; empty: floats
    bits: str = ""
    start_sha256: str = ""  # of the weights that it started from
    distillation: float = Field(default=1.0, ge=0.0)  # weight of what the float network answers
    transfer: float = Field(default=0.3, ge=0.0)  # weight of the method's own loss


class Recipe(_Section):
    """One training, whole."""

    data: DataRecipe
    network: NetworkRecipe
    static: StaticRecipe = StaticRecipe()
    method: MethodRecipe
    train: TrainRecipe
    qat: QatRecipe = QatRecipe()

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        if self.method.teacher and self.static.encoding != "grey":
            raise ValueError(
                "method.teacher was trained on images and sees images; set static.encoding=grey, or"
                " leave it empty to train one here"
            )
        if self.static.encoding == "simulated" and self.data.frames == "float":
            raise ValueError(
                "a simulated camera gives counts, data.frames = float does not; set"
                " data.frames=counts or static.encoding=grey"
            )
        return self


def recipe_path(name: str, folder: Path) -> Path:
    """Where a recipe lies: by name in `folder`, or `name` itself if it ends in .toml."""
    return Path(name) if name.endswith(".toml") else folder / f"{name}.toml"


def load_recipe(name: str, folder: Path, overrides: list[str] | None = None) -> Recipe:
    """Reads a recipe (see `recipe_path`) and applies `section.key=value` overrides.

    Raises InputError for an unknown recipe or key (naming the nearest known one) and for a value
    out of range.
    """
    path = recipe_path(name, folder)
    if not path.is_file():
        known = sorted(p.stem for p in folder.glob("*.toml"))
        raise InputError(
            f"recipe {name!r}: not found, known are {', '.join(known)}{nearest(name, known)}"
        )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid TOML ({error}); mend it") from None
    return with_settings(values, overrides, f"recipe {name!r}")


def with_settings(values: dict[str, Any], overrides: list[str] | None, where: str) -> Recipe:
    """A recipe from nested dictionaries with `section.key=value` overrides; errors name `where`."""
    for override in overrides or []:
        _apply(values, override)
    return parse_recipe(values, where)


def parse_recipe(values: dict[str, Any], where: str) -> Recipe:
    """Validates a recipe given as nested dictionaries; errors name `where`."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise InputError(
                f"{where}: unknown key {key!r}{nearest(key, _keys())}; see: tmkt recipes show NAME"
            ) from None
        found = (
            ""
            if first["type"] == "missing" or isinstance(first["input"], dict)
            else f", found {first['input']!r}"
        )
        place = f"key {key!r}: " if key else ""  # none: two sections contradict each other
        raise InputError(
            f"{where}: {place}{first['msg'].removeprefix('Value error, ')}{found}"
        ) from None


def _keys() -> list[str]:
    return [
        f"{section}.{key}"
        for section, field in Recipe.model_fields.items()
        for key in field.annotation.model_fields  # type: ignore[union-attr]
    ]


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not equals or not dot:
        raise InputError(f"--set {override!r}: expected section.key=value, as in train.steps=500")
    if key.strip() not in _keys():
        raise InputError(
            f"--set {override!r}: unknown key {key.strip()!r}{nearest(key.strip(), _keys())}; see:"
            " tmkt recipes show NAME"
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a string
    values.setdefault(section, {})[name] = value


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as TOML, every key resolved."""
    return "\n".join(dump_section(name, values) for name, values in recipe.model_dump().items())


def dump_section(name: str, values: dict[str, Any]) -> str:
    """One section of a recipe as TOML."""
    return "\n".join(
        [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in values.items()), ""]
    )


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    return str(value).lower() if isinstance(value, bool) else repr(value)
