"""Training method of a proposed recipe, by what was measured for so many recordings and images."""

from dataclasses import dataclass, field
from typing import Any

from tmkt.proposal.choices import round_digits
from tmkt.recipe import NetworkRecipe

# Recordings a class above which images have not been shown to help (docs/results.md: 35 points at
# one a class, 6 at five, 2 at twenty)
FEW = 20
# Recordings a class up to which a backbone gains by images of some classes (docs/results.md, two
# sessions: 10 and 1 points at one a class, 4 and 2 at five, none from twenty on)
FEWEST = 5
# The simulated camera of nmnist-fewshot-sim: its saccades of 100 ms filled recordings of 300 ms,
# and moved an image of 34 pixels by 5
NMNIST_US, NMNIST_SIDE, NMNIST_PX = 300_000, 34, 5.0
SHORTEST_SACCADE_US = 1000  # that a recipe takes


@dataclass(frozen=True)
class Material:
    """Amount of recordings and images that there are to learn from.

    `fewest`: recordings of the smallest class that will be trained on. `one_session`: those of a
    class seem to stem from one recording. `imaged` of `classes` classes have images, `images` in
    all; `strange`: there are images of a class without recordings.
    """

    fewest: int
    one_session: bool
    classes: int
    imaged: int = 0
    images: int = 0
    strange: bool = False

    @property
    def amount(self) -> str:
        """Name `fewest` in words."""
        return f"{self.fewest} recording{'' if self.fewest == 1 else 's'} of the smallest class"

    @property
    def usable(self) -> bool:
        """Tell if the images serve any training: there are some of every class, and of no other."""
        return self.imaged == self.classes and not self.strange

    @property
    def usable_by_backbone(self) -> bool:
        """Tell if the images serve one that starts from a backbone, where some classes may lack
        them.
        """
        some = self.imaged > 0 and self.fewest <= FEWEST
        return self.usable or (some and not self.strange)


@dataclass(frozen=True)
class Backbone:
    """A pre-trained backbone that fits the chip: its name, network and cores with the new head."""

    name: str
    network: NetworkRecipe
    cores: int


@dataclass(frozen=True)
class MethodChoice:
    """Method and the keys that go with it, each section's by name, and the reason.

    `backbone`: the network that training starts from; None: from scratch.
    """

    name: str
    why: str
    uses_images: bool
    backbone: Backbone | None = None
    method: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    static: dict[str, Any] = field(default_factory=dict)


def choose_method(
    seen: Material, span_us: int, side: int, backbone: Backbone | None = None
) -> MethodChoice:
    """Choose how to train. `span_us`: time that the bins cover; `side`: the input's, in sites.

    `backbone`: the one to start from where recordings are few; None: there is none that fits.
    """
    few = seen.fewest <= FEW
    if backbone and (few or seen.one_session):
        return _adapted(seen, span_us, backbone)
    if seen.usable and few:
        return MethodChoice(
            "mix",
            f"{seen.amount}: images before a simulated camera, in"
            " one batch with the recordings, were best there (POKER-DVS, one a class: 91 %, events"
            " alone 70 %; N-MNIST: 98 and 51 %)",
            uses_images=True,
            method={"real_share": 0.25},
            train={"batch": 16, "learning_rate": 6e-3, "ema": 0.99, "shift": 1, "rotation": 3.0},
            static=simulated_camera(span_us, side),
        )
    if not seen.images:
        why = "no images were given: events alone"
    elif not seen.usable:
        why = "events alone: " + _unusable(seen)
    else:
        why = (
            f"events alone: {seen.amount}, and images were worth 2"
            " points at 20 a class and have not been shown to help above"
        )
    return MethodChoice("target-only", why, uses_images=False)


def _adapted(seen: Material, span_us: int, backbone: Backbone) -> MethodChoice:
    why = f"{seen.amount}"
    if seen.one_session:
        why += ", perhaps slices of one"
    why += (
        ": a backbone that has seen photographs before a simulated camera was best on POKER-DVS"
        " (one a class, frozen, without images: 95 %, from scratch 71)"
    )
    used = seen.usable_by_backbone
    if seen.usable:
        why += "; images of the classes join in"
    elif used:
        why += (
            f"; images of {seen.imaged} of {seen.classes} classes join in, which brought 1 to 10"
            " points at up to five recordings a class (BioLab)"
        )
    elif seen.images:
        why += f"; {_unusable(seen)}"
    return MethodChoice(
        "adapt",
        why,
        uses_images=used,
        backbone=backbone,
        method={"real_share": 0.25} if used else {},
        train={"init": backbone.name, "learning_rate": 2e-3, "ema": 0.99},
        static=random_camera(span_us) if used else {},
    )


def random_camera(span_us: int) -> dict[str, Any]:
    """Give the section [static] of the recipe fewshot, in the time at hand."""
    return {
        "encoding": "simulated",
        "threshold_spread": 0.6,
        "path": "random",
        "amplitude_spread": 0.5,
        "saccade_us": max(int(round_digits(span_us / 3)), SHORTEST_SACCADE_US),
        "speed_px_s": round_digits(10.0 * 1e6 / span_us),
        "speed_spread": 2.0,
        "noise_hz": 0.6,
        "polarity": "random",
    }


def _unusable(seen: Material) -> str:
    if seen.imaged < seen.classes:
        return (
            f"images of {seen.imaged} of {seen.classes} classes are left aside: they have helped"
            f" a backbone alone, with at most {FEWEST} recordings a class"
        )
    return "the images are left aside, since some show no class that was recorded"


def simulated_camera(span_us: int, side: int) -> dict[str, Any]:
    """Give the section [static]: nmnist-fewshot-sim's camera, in the time and size at hand.

    Nothing is fitted: times scale with the recordings' length, the way with the input's side.
    """
    time = span_us / NMNIST_US
    return {
        "encoding": "simulated",
        "threshold_spread": 0.6,
        "amplitude_px": round_digits(NMNIST_PX * side / NMNIST_SIDE),
        "amplitude_spread": 0.5,
        "saccade_us": max(int(round_digits(100_000 * time)), SHORTEST_SACCADE_US),
        "refractory_us": int(round_digits(2000 * time)),
        "noise_hz": 0.6,
        "polarity": "random",
    }
