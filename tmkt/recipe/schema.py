"""Sections and keys of a recipe, their defaults and their limits."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tmkt.recipe.data import DataRecipe
from tmkt.recipe.section import Section
from tmkt.recipe.train import TrainRecipe


class NetworkRecipe(Section):
    """Network to train.

    "small" is a chain with one entry a block in `channels`, `strides` and `pools` (1 = no pooling).
    The others are fixed, except that the `channels` of sew-resnet18's four stages may differ from
    64, 128, 256 and 512. "init" stands for the network that train.init names, until a training
    puts that in.
    """

    name: Literal["small", "vggsnn", "resnet18", "sew-resnet18", "scnn", "init"] = "small"
    channels: list[Annotated[int, Field(ge=1, le=4096)]] = Field(default_factory=list)
    strides: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)  # one a block
    pools: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)  # 1: none
    # of pools: "max" is an OR over a window's spikes, a layer of neurons of its own on a chip
    pooling: Literal["average", "max"] = "average"
    tau: float = Field(default=2.0, gt=1.0, le=4096.0)  # in time steps
    threshold: float = Field(default=0.5, gt=0.0)  # of a membrane
    # surrogate gradient; "triangle" is Knowledge Transfer's, "rectangle" that of its SCNN
    surrogate: Literal["atan", "triangle", "rectangle"] = "atan"
    # batch norm in training: over all time steps at once, or over each by itself, as KT's code
    norm: Literal["whole", "per-step"] = "whole"

    @model_validator(mode="after")
    def _fits_the_family(self) -> "NetworkRecipe":
        given = (
            f"channels, strides and pools have {len(self.channels)}, {len(self.strides)} and"
            f" {len(self.pools)} entries"
        )
        if self.name == "init":
            if self != NetworkRecipe.model_construct(name="init"):
                raise ValueError("init takes the whole network of train.init; leave the others out")
        elif self.pooling == "max" and self.name not in ("small", "vggsnn"):
            raise ValueError(f"{self.name} has average pooling; leave pooling out")
        elif self.name == "small":
            equally_many = len(self.channels) == len(self.strides) == len(self.pools)
            if not (equally_many and self.channels):
                raise ValueError(f"{given}; a small network needs equally many, and one at least")
        elif self.strides or self.pools or (self.channels and self.name != "sew-resnet18"):
            raise ValueError(f"{given}; {self.name} is fixed, leave them out")
        elif self.name == "scnn" and self.norm != "whole":
            raise ValueError("scnn has no batch norm; leave norm out")
        elif len(self.channels) not in (0, 4):
            raise ValueError(f"{given}; {self.name} has four stages")
        return self


class StaticRecipe(Section):
    """Encoding of images: "grey", the same still frame at every step, or "simulated", the events of
    a moving camera.

    All keys but `encoding` describe the simulated camera, whose parameters are drawn anew for each
    recording; a spread of 0 fixes one (docs/simulation.md).
    """

    encoding: Literal["grey", "simulated"] = "grey"
    # change of log intensity that makes an event
    threshold: float = Field(default=0.2, gt=0.0, le=10.0)
    # of a recording's threshold: up to so much more or less, relative
    threshold_spread: float = Field(default=0.5, ge=0.0, lt=1.0)
    # of a pixel's threshold in a recording: standard deviation, relative
    pixel_spread: float = Field(default=0.2, ge=0.0, le=1.0)
    # the image on the screen before the camera: as it is, or dark for light
    shown: Literal["positive", "negative", "random"] = "random"
    # light of a black screen, relative to that of a white image
    dark: float = Field(default=0.3, gt=0.0, le=10.0)
    # what moves: the camera in three saccades, the whole image ("drift"), or an "object" cut out of
    # it before a still background; "random" draws one of the three for each recording
    path: Literal["saccades", "drift", "object", "random"] = "saccades"
    # drift, object: speed in the sensor's pixels a second, in any direction
    speed_px_s: float = Field(default=50.0, ge=0.0, le=100_000.0)
    # drift, object: up to so many degrees a second, to either side
    rotation_deg_s: float = Field(default=60.0, ge=0.0, le=100_000.0)
    # drift, object: up to so much larger or smaller a second (change of the size's logarithm)
    zoom_per_s: float = Field(default=0.5, ge=0.0, le=1000.0)
    # object: smallest size, relative to the image's; drawn from there to 1
    object_least_size: float = Field(default=0.5, gt=0.0, le=1.0)
    # all that a recording does in time is up to 1 + so much times faster or slower
    speed_spread: float = Field(default=0.0, ge=0.0, le=15.0)
    # of the image's contrast: up to so much more or less, relative
    contrast_spread: float = Field(default=0.0, ge=0.0, le=1.0)
    # height and base of the triangle that the camera's saccades make
    amplitude_px: float = Field(default=5.0, ge=0.0, le=1000.0)
    # of the two, each by itself: relative
    amplitude_spread: float = Field(default=0.3, ge=0.0, lt=1.0)
    # degrees by which the triangle is turned; 0 as N-MNIST's
    direction: float = Field(default=0.0, ge=-360.0, le=360.0)
    direction_spread: float = Field(default=180.0, ge=0.0, le=180.0)  # degrees
    # length of each of the three saccades
    saccade_us: int = Field(default=100_000, ge=1000, le=10**9)
    # of a recording's saccades: relative
    timing_spread: float = Field(default=0.05, ge=0.0, lt=1.0)
    # share of a saccade's time in which the camera moves; then it rests
    moving: float = Field(default=0.8, gt=0.0, le=1.0)
    # background events of a pixel
    noise_hz: float = Field(default=0.25, ge=0.0, le=10_000.0)
    # share of them that are on (1): all, where a pixel's reset leaks
    noise_on: float = Field(default=0.5, ge=0.0, le=1.0)
    # share of events that are lost
    drop: float = Field(default=0.1, ge=0.0, lt=1.0)
    # a pixel that sent an event is silent for so long
    refractory_us: int = Field(default=2_000, ge=0, le=10**9)
    # normal: 1 = brighter; inverted: 1 = darker
    polarity: Literal["normal", "inverted", "random"] = "random"


# What a method's paper publishes where it differs from the other defaults (docs/methods.md).
_PUBLISHED: dict[str, dict[str, Any]] = {
    "kt": {"heads": 2, "loss": "tet", "step_weights": "learned", "statistics": "shared"},
    "ckd": {"heads": 1, "loss": "tet", "step_weights": "learned", "statistics": "shared"},
}


class MethodRecipe(Section):
    """Training method. Each method uses some of the keys (docs/methods.md)."""

    name: Literal[
        "tmkt", "kt", "ckd", "joint", "mix", "adapt", "finetune", "target-only", "static-only"
    ]
    # classification loss: of the logits' mean over time, or of each step by itself
    loss: Literal["mean", "tet"] = "mean"
    # share of each sample's label that all classes have in equal parts
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    # 2: the static stream has a head of its own, which is not deployed
    heads: Literal[1, 2] = 1
    # deployed batch norm statistics: of the events alone, or of both streams
    statistics: Literal["apart", "shared"] = "apart"
    # learned: a coefficient of each step for alignment and classification
    step_weights: Literal["fixed", "learned"] = "fixed"
    alignment: float = Field(default=0.5, ge=0.0)  # weight of 1 - CKA
    # tmkt: expected share of a mixed sequence that comes from events; 0: no mixup
    mix_ratio: float = Field(default=0.3, ge=0.0, le=1.0)
    # tmkt: the ratio at the last step; where not given: mix_ratio
    mix_ratio_end: float = Field(default=0.3, ge=0.0, le=1.0)
    # tmkt: the ratio has gone (done steps / steps)^power of its way; 1: linear
    mix_power: float = Field(default=1.0, gt=0.0, le=100.0)
    # tmkt: whose events are mixed in: the event stream's recording, or another of its class
    mix_partner: Literal["same", "other"] = "same"
    modality_guidance: float = Field(default=0.1, ge=0.0)  # tmkt: weight of MAG
    # tmkt: the features learn to show the modality, or (reverse) to hide it
    modality_gradient: Literal["follow", "reverse"] = "follow"
    ratio_perception: float = Field(default=0.1, ge=0.0)  # tmkt: weight of MRP
    # joint: share of each image's steps that are shown, the first ones
    image_share: float = Field(default=1.0, gt=0.0, le=1.0)
    # mix, adapt: share of a batch that are recordings, the rest are images
    real_share: float = Field(default=0.25, ge=0.0, le=1.0)
    # finetune: share of the steps that learn from images
    pretrain_share: float = Field(default=0.5, gt=0.0, lt=1.0)
    # kt, ckd: images are replaced with probability (done steps / steps)^power
    sliding_power: float = Field(default=3.0, gt=0.0, le=100.0)
    teacher: str = ""  # ckd: a ResNet's weights, .safetensors; empty: one is trained
    teacher_steps: int = Field(default=500, ge=1, le=10**7)  # ckd: for so many steps
    teacher_width: int = Field(default=16, ge=1, le=1024)  # ckd: channels of its first stage
    distillation: float = Field(default=1.0, ge=0.0)  # ckd: weight of distillation at first
    distillation_temperature: float = Field(default=4.0, gt=0.0, le=1000.0)
    # ckd: share of the steps at which the weight has fallen to a half
    distillation_switch: float = Field(default=0.5, ge=0.0, le=1.0)
    distillation_steepness: float = Field(default=30.0, gt=0.0, le=10_000.0)
    # ckd: how unlike a replacement's class may be; 0: always the same class
    likeness_temperature: float = Field(default=0.1, ge=0.0, le=1000.0)

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
        never_mixes = self.mix_ratio == 0.0 and self.mix_ratio_end == 0.0
        weighs_mixing = bool(self.modality_guidance or self.ratio_perception)
        if self.name == "tmkt" and never_mixes and weighs_mixing:
            raise ValueError(
                "mix_ratio = 0 leaves guidance and perception nothing to tell; set"
                " modality_guidance and ratio_perception to 0, too"
            )
        return self


class QatRecipe(Section):
    """Training on integers, which goes on from a finished run: `tmkt train RUN --qat BITS`
    (docs/quantisation.md).
    """

    # of the weights: "4" for all layers, or one number a layer, "8,4,4,8", or by name,
    # "4,readout=8"; empty: floats
    bits: str = ""
    start_sha256: str = ""  # of the weights that it started from
    distillation: float = Field(default=1.0, ge=0.0)  # weight of what the float network answers
    transfer: float = Field(default=0.3, ge=0.0)  # weight of the method's own loss


class Recipe(Section):
    """A recipe: everything that decides one training."""

    data: DataRecipe
    network: NetworkRecipe = NetworkRecipe(name="init")
    static: StaticRecipe = StaticRecipe()
    method: MethodRecipe
    train: TrainRecipe
    qat: QatRecipe = QatRecipe()

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        if self.network.name == "init" and not self.train.init:
            raise ValueError(
                "no [network] section and no train.init to take the network from; give one of them"
            )
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
        if self.data.images_alone != (self.method.name == "static-only"):
            raise ValueError(
                f"method {self.method.name} with data set {self.data.name}: static-only learns from"
                " images alone, and only data set images has nothing else; set"
                " method.name=static-only with data.name=images, or neither"
            )
        if self.train.choose == "validation" and not self.data.validation:
            raise ValueError(
                "train.choose = validation needs recordings to choose by; set data.validation"
            )
        if self.data.images_alone and self.static.encoding != "simulated":
            raise ValueError(
                "method static-only is tested on recordings by the simulated camera; set"
                " static.encoding=simulated"
            )
        return self


def recipe_keys() -> dict[str, Any]:
    """Give the type of every key, by its name "section.key"."""
    sections = {name: field.annotation for name, field in Recipe.model_fields.items()}
    return {
        f"{section}.{key}": field.annotation
        for section, fields in sections.items()
        for key, field in fields.model_fields.items()  # type: ignore[union-attr]
    }
