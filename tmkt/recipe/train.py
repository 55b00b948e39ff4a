"""The section `train` of a recipe: where a training starts, optimisation, augmentation."""

from typing import Literal

from pydantic import Field, model_validator

from tmkt.recipe.section import Section


class TrainRecipe(Section):
    """Start, optimisation and augmentation (docs/training.md)."""

    # the blocks' weights: those of a finished run (its folder); empty: random ones
    init: str = ""
    init_sha256: str = ""  # of the run's weights; where it is given, others are refused
    # batch norm statistics of the first step: the run's, those of the training recordings, or n /
    # (n + statistics_prior) of these with n recordings
    init_statistics: Literal["keep", "estimate", "blend"] = "keep"
    statistics_prior: float = Field(default=20.0, gt=0.0, le=1e9)  # recordings
    # the head alone learns, on features that are computed once; goes before head_share
    freeze: bool = False
    # so large a share of the steps, the first, is as with `freeze`; then everything learns
    head_share: float = Field(default=0.0, ge=0.0, lt=1.0)
    # learning rate of a block, relative to that of the block behind it; the head's is whole
    layer_decay: float = Field(default=1.0, gt=0.0, le=1.0)
    steps: int = Field(ge=1, le=10**7)  # of the whole training
    batch: int = Field(default=24, ge=2, le=10**4)  # recordings a step, and as many images
    # classes: each as often as the others; epochs: every recording once an epoch, shuffled;
    # weighted: each sample's class by itself, all with equal chance
    draw: Literal["classes", "epochs", "weighted"] = "classes"
    # deployed: the last weights, or those of the epoch that is best on the validation recordings
    choose: Literal["last", "validation"] = "last"
    learning_rate: float = Field(default=5e-3, gt=0.0)  # the highest: after warmup_steps
    weight_decay: float = Field(default=0.01, ge=0.0)  # of matrices alone
    warmup_steps: int = Field(default=20, ge=0, le=10**7)  # the learning rate rises
    # the first learning rate of the warm-up, relative to the highest
    warmup_start: float = Field(default=0.0, ge=0.0, lt=1.0)
    # behind the warm-up: "cosine", or "step", which falls at once at `step_at` of the steps
    schedule: Literal["cosine", "step"] = "cosine"
    step_at: float = Field(default=0.8, gt=0.0, lt=1.0)  # share of the steps
    rate_end: float = Field(default=0.01, ge=0.0, le=1.0)  # relative to the highest
    # steps for which the learning rate stays: an epoch's, where a paper changes it by epochs
    rate_every: int = Field(default=1, ge=1, le=10**7)
    # decay of averaged weights, which are then measured and deployed; 0: the last weights
    ema: float = Field(default=0.0, ge=0.0, lt=1.0)
    # "tf32": convolutions in TF32, on a GPU alone; "bf16": convolutions and products in bfloat16,
    # for GPUs and for processors that have it
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    # activations are computed again in the backward pass: less memory, a third more time
    recompute: bool = False
    shift: int = Field(default=3, ge=0, le=1000)  # augmentation: pixels
    rotation: float = Field(default=10.0, ge=0.0, le=180.0)  # degrees
    zoom: float = Field(default=0.1, ge=0.0, lt=1.0)  # share of the size
    # share of the samples that are mirrored, left for right
    flip: float = Field(default=0.0, ge=0.0, le=1.0)
    # bins by which a recording begins later or earlier, at most; what leaves the bins is lost
    delay: int = Field(default=0, ge=0, le=1000)
    seed: int = Field(default=0, ge=0, lt=2**63)  # decides all that is drawn by chance
    # part of the recipe, because the last bits of sums depend on it
    threads: int = Field(default=2, ge=1, le=256)

    @property
    def frozen_steps(self) -> int:
        """Number of the first steps in which the head alone learns."""
        return self.steps if self.freeze else round(self.head_share * self.steps)

    @model_validator(mode="after")
    def _consistent(self) -> "TrainRecipe":
        needing = {
            "init_sha256": self.init_sha256 != "",
            "init_statistics": self.init_statistics != "keep",
            "freeze": self.freeze,
            "head_share": self.head_share > 0.0,
        }
        for key, given in needing.items():
            if given and not self.init:
                raise ValueError(
                    f"{key} = {getattr(self, key)!r} is for a network that starts from a trained"
                    " one; set init, or leave it out"
                )
        if self.frozen_steps and self.draw != "classes":
            raise ValueError(
                f"draw = {self.draw!r}: the head alone learns from features, drawn by classes in"
                " equal shares; leave draw out, or freeze and head_share"
            )
        return self
