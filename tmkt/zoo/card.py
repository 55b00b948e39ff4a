"""The card of a backbone: what it is, what it was trained on, how, and what it costs.

A card is a JSON file beside the weights. tests/bench/zoo.py writes it from a finished run.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tmkt.errors import InputError, explain, nearest
from tmkt.files import read_text
from tmkt.recipe import NetworkRecipe

ZOO = Path(__file__).parent  # cards and weights lie beside the code
CARD, WEIGHTS = ".json", ".safetensors"  # what follows a backbone's name
MAX_CARD_BYTES = 2**18  # ours: a card has 5 kB
MAX_ZOO_BYTES = 3_000_000  # of all weights that ship; ours, so that the package stays small

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Joules = Annotated[float, Field(ge=0.0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Input(_Part):
    """The frames that the backbone was trained on: size in pixels, time bins, largest count."""

    height: Positive
    width: Positive
    bins: Positive
    bin_us: Positive
    max_count: Positive


class Weights(_Part):
    """The file of the weights. `parameters`: of the blocks, without running statistics."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=1, le=MAX_ZOO_BYTES)]
    parameters: Positive


class Data(_Part):
    """The images. `sha256`: fingerprint of all that the training saw of them, decoded."""

    title: str
    licence: str
    source: str
    classes: Positive
    images: Positive
    sha256: Sha256


class Machine(_Part):
    """The machine on which the same command gives the same bytes. Unknown is None."""

    processor: str | None
    instructions: str | None  # the vector instructions that torch used
    system: str | None
    versions: dict[str, str]


class Training(_Part):
    """The training. `recipe_sha256` and `model_sha256`: of the run's recipe.toml and
    model.safetensors.
    """

    command: str
    seed: Count
    steps: Positive
    recipe_sha256: Sha256
    model_sha256: Sha256
    machine: Machine


class HeldOut(_Part):
    """Accuracy of the float network, with its own head, on simulated recordings of images that
    were not trained on; with the 95 % interval of Wilson.
    """

    samples: Positive
    accuracy: Share
    low: Share
    high: Share


class Chip(_Part):
    """Placement on one kind of chip. `fits`: on a single one. `head_cores` of the `cores` hold the
    head. None where a layer fits no core.
    """

    device: str
    fits: bool
    cores: Positive | None
    head_cores: Positive | None
    chips: Positive | None


class Energy(_Part):
    """Energy of an inference by one estimator, mean over the recordings, in joules."""

    device: str
    estimator: str
    energy_j: Joules
    low_j: Joules
    high_j: Joules


class Cost(_Part):
    """Costs of the integer program with the head of the pre-training.

    Synaptic operations, spikes and energy are means over so many `recordings`: the calibration
    frames of the run. `flash_bytes` (constants) and `ram_bytes` are those of the C export;
    `head_flash_bytes` of the constants are the head's.
    """

    bits: Annotated[int, Field(ge=2, le=8)]
    head_classes: Positive
    neurons: Positive
    weights: Positive
    recordings: Positive
    synops: Annotated[float, Field(ge=0.0)]
    spikes: Annotated[float, Field(ge=0.0)]
    chips: list[Chip]
    energy: list[Energy]
    flash_bytes: Positive
    head_flash_bytes: Positive
    ram_bytes: Positive


class Card(_Part):
    """Description of a backbone: its network, its training, its figures, its weights."""

    format: Literal["tmkt-backbone"]
    version: Literal[1]
    name: str
    network: NetworkRecipe
    input: Input
    weights: Weights
    data: Data
    training: Training
    held_out: HeldOut
    cost: Cost
    limits: list[str]


def names(folder: Path = ZOO) -> list[str]:
    """List the backbones in a folder, by default those that come with tmkt."""
    return sorted(path.stem for path in folder.glob(f"*{CARD}"))


def load_card(name: str, folder: Path = ZOO) -> Card:
    """Read and check the card of a backbone.

    Raises InputError for an unknown name (with the nearest known one) and for a damaged card.
    """
    known = names(folder)
    if name not in known:
        listed = f"known are {', '.join(known)}" if known else "the zoo is empty"
        raise InputError(f"backbone {name!r}: unknown, {listed}{nearest(name, known)}")
    path = folder / f"{name}{CARD}"
    try:
        card = Card.model_validate_json(read_text(path, MAX_CARD_BYTES))
    except ValidationError as error:
        raise InputError(f"{path}: damaged card, {explain(error)}; install tmkt again") from None
    except (ValueError, RecursionError, OSError) as error:
        found = f"{type(error).__name__}: {str(error)[:100]}"
        raise InputError(f"{path}: damaged card ({found}); install tmkt again") from None
    if card.name != name:
        raise InputError(
            f"{path}: card of backbone {card.name!r}, expected {name!r}; install tmkt again"
        )
    return card
