"""A proposed recipe: its keys with their reasons, from what was seen and chosen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import Any

from tmkt.console import percent, significant
from tmkt.datasets.folders import session_of
from tmkt.proposal.choices import (
    MOST_STEPS,
    SHARE_OF_BUDGET,
    Binning,
    Camera,
    Input,
    Shape,
    Width,
    choose_bins,
    choose_camera,
    choose_input,
    choose_shape,
    choose_share,
    choose_steps,
    choose_width,
)
from tmkt.proposal.defects import slices_of_one
from tmkt.proposal.method import Backbone, Material, MethodChoice, choose_method
from tmkt.proposal.survey import ImagesSurvey, RecordingFacts, RecordingsSurvey
from tmkt.recipe import NetworkRecipe

HEAD_STEPS = 200  # the recipe fewshot's
MOST_ADAPTED = 400  # of a backbone: what was measured took 120 to 200
FEW_STEPS = 200  # fewer were not measured to be enough
UNMEASURED_STEPS = 500  # where training refuses the data, so that its speed is not known
# (network recipe, input size, classes) -> cores on one chip, None where it does not fit
CoresOf = Callable[[dict[str, Any], tuple[int, int], int], int | None]


@dataclass(frozen=True)
class Key:
    """Key of a recipe, its value, and why it has it; "" where the key before says it."""

    section: str
    name: str
    value: Any
    why: str = ""


@dataclass(frozen=True)
class Chosen:
    """The choices for a folder of recordings. `share`: of each class to train on; None where other
    recordings are tested.
    """

    camera: Camera
    input: Input
    binning: Binning
    shape: Shape
    width: Width | None
    method: MethodChoice
    share: float | None

    @property
    def cores(self) -> int | None:
        """Cores of the network that is trained, the backbone's or the chosen one; None: it fits on
        no chip.
        """
        if self.method.backbone is not None:
            return self.method.backbone.cores
        return self.width.cores if self.width else None


def choose(
    data: RecordingsSurvey,
    test: RecordingsSurvey | None,
    images: ImagesSurvey | None,
    cores_of: CoresOf,
    backbones: Sequence[tuple[str, NetworkRecipe]] = (),
) -> Chosen:
    """Choose everything but the number of steps. `backbones`: those of the zoo by name, the
    preferred first.
    """
    every = [*data.recordings, *(test.recordings if test else ())]
    said = [r.sensor for r in every if r.sensor]
    camera = choose_camera(said, reached(every))
    inputs = choose_input(camera.size, data.pixels)
    binning = choose_bins([r.duration_us for r in every])
    shape = choose_shape(inputs.size)
    classes = data.classes

    def cores(channels: tuple[int, ...]) -> int | None:
        return cores_of(network_keys(channels, shape), inputs.size, len(classes))

    fewest = min(data.instances(name) for name in classes)
    share = choose_share(fewest) if test is None else None
    material = Material(
        fewest=max(round(fewest * (share or 1.0)), 1),
        one_session=bool(slices_of_one(data)),
        classes=len(classes),
        imaged=sum(images.per_class[name] > 0 for name in classes) if images else 0,
        images=len(images.images) if images else 0,
        strange=any(name not in classes for name in images.per_class) if images else False,
    )
    backbone = _first_that_fits(backbones, cores_of, inputs.size, len(classes))
    method = choose_method(material, binning.span_us, min(inputs.size), backbone)
    width = None if method.backbone else choose_width(cores)
    return Chosen(
        camera, inputs, binning=binning, shape=shape, width=width, method=method, share=share
    )


def _first_that_fits(
    backbones: Sequence[tuple[str, NetworkRecipe]],
    cores_of: CoresOf,
    size: tuple[int, int],
    classes: int,
) -> Backbone | None:
    for name, network in backbones:
        cores = cores_of(network.model_dump(), size, classes)
        if cores is not None:
            return Backbone(name, network, cores)
    return None


def reached(recordings: Sequence[RecordingFacts]) -> tuple[int, int]:
    """Give the (height, width) that events reach."""
    ends = [(r.statistics.y, r.statistics.x) for r in recordings]
    return (
        max(y[1] for y, _ in ends if y is not None) + 1,
        max(x[1] for _, x in ends if x is not None) + 1,
    )


def network_keys(channels: tuple[int, ...], shape: Shape) -> dict[str, Any]:
    """Give the keys of the section [network] that decide its size."""
    return {"channels": list(channels), "strides": list(shape.strides), "pools": list(shape.pools)}


def keys_of(
    chosen: Chosen, data: RecordingsSurvey, device: str, cores_per_chip: int, covered: str | None
) -> list[Key]:
    """List the keys but [paths] and train.steps. `covered`: what the bins leave out."""
    return [
        *_data_keys(chosen, data, covered),
        *_network_keys(chosen, device, cores_per_chip),
        *(Key("static", name, value) for name, value in chosen.method.static.items()),
        Key("method", "name", chosen.method.name, chosen.method.why),
        *(Key("method", name, value) for name, value in chosen.method.method.items()),
        *_train_keys(chosen, device, cores_per_chip),
        Key("train", "seed", 0, "decides the split, the first weights and every batch"),
    ]


def _data_keys(chosen: Chosen, data: RecordingsSurvey, covered: str | None) -> list[Key]:
    keys = [Key("data", "name", "folders", f"{len(data.classes)} classes: {_names(data.classes)}")]
    height, width = chosen.camera.size
    if chosen.camera.guessed:
        seen = reached(data.recordings)
        why = f"no file says the camera's size; events reach {seen[1]}x{seen[0]} pixels"
        keys += [
            Key("data", "camera_width", width, why),
            Key("data", "camera_height", height),
        ]
    if chosen.share is not None:
        fewest = min(data.instances(name) for name in data.classes)
        grouped = any(session_of(r.path, data.root) for r in data.recordings)
        what = "sessions" if grouped else "recordings"
        why = f"of the {what} of each class ({fewest} at least); all others are tested"
        keys.append(Key("data", "train_share", chosen.share, why))
    keys += _input_keys(chosen.input, chosen.camera.size)
    durations = [r.duration_us for r in data.recordings]
    low, middle, high = (_ms(f(durations)) for f in (min, median, max))
    seen_ms = f"recordings last {low} to {high} ms (median {middle})"
    why = f"{seen_ms}; {covered or 'the bins cover all of them'}"
    keys += [
        Key("data", "bins", chosen.binning.bins, why),
        Key("data", "bin_us", chosen.binning.bin_us),
        Key("data", "max_count", 1, "binary input: a chip adds weights and multiplies nothing"),
    ]
    return keys


def _names(classes: Sequence[str]) -> str:
    return ", ".join(classes[:12]) + (", ..." if len(classes) > 12 else "")


def _ms(duration_us: float) -> str:
    return significant(duration_us / 1000)


def _input_keys(chosen: Input, camera: tuple[int, int]) -> list[Key]:
    height, width = chosen.size
    size = f"{camera[1]}x{camera[0]}"
    if chosen.factor == 1 and not chosen.cropped:
        return []
    lost = f"; {percent(chosen.lost)} of the events lie outside" if chosen.lost >= 0.0005 else ""
    middle = "the middle of " if chosen.cropped else ""
    why = (
        f"{middle}{size} pixels, {chosen.factor} x {chosen.factor} a site: an input of"
        f" {width}x{height}, about the size that all measurements were made with{lost}"
    )
    if chosen.cropped:
        return [Key("data", "width", width, why), Key("data", "height", height)]
    return [Key("data", "downsample", chosen.factor, why)]


def _network_keys(chosen: Chosen, device: str, cores_per_chip: int) -> list[Key]:
    if chosen.width is None:
        return []  # the network is the backbone's
    maps = " -> ".join(map(str, chosen.shape.sides))
    if chosen.width.cores is None:
        fits = f"does NOT fit one {device} chip, though it is the narrowest that is tried"
    else:
        fits = f"{chosen.width.cores} of the {cores_per_chip} cores of one {device} chip (tmkt fit)"
    values = network_keys(chosen.width.channels, chosen.shape)
    return [
        Key("network", name, value, f"maps of {maps} sites a side; {fits}" if not i else "")
        for i, (name, value) in enumerate(values.items())
    ]


def _train_keys(chosen: Chosen, device: str, cores_per_chip: int) -> list[Key]:
    backbone, why = chosen.method.backbone, {}
    if backbone:
        why["init"] = (
            f"the network is the backbone's: {backbone.cores} of the {cores_per_chip} cores of one"
            f" {device} chip (tmkt fit, tmkt zoo show {backbone.name})"
        )
    return [
        Key("train", name, value, why.get(name, "")) for name, value in chosen.method.train.items()
    ]


def steps_keys(chosen: Chosen, minutes: float, seconds: float | None) -> list[Key]:
    """Give the keys of the training's length, with the time of a step that they rest on.

    `seconds` None: not measured. From a backbone the head learns first, which takes seconds.
    """
    head, most = 0, MOST_STEPS
    if chosen.method.backbone:
        head, most = HEAD_STEPS, MOST_ADAPTED
    if seconds is None:
        why = "speed not measured, since training refuses the data"
        return _counts(head, min(UNMEASURED_STEPS, most), why)
    steps = choose_steps(minutes, seconds, most)
    budget = f"{minutes:g} minute{'' if minutes == 1 else 's'}"
    why = (
        f"{f'{head} of the head and {steps}' if head else 'a round number'} for {budget}: a step"
        f" took {significant(seconds, 2)} s when this was written (measured on this machine; no"
        " other value depends on it)"
    )
    if steps < FEW_STEPS:
        enough = ceil(FEW_STEPS * seconds / 60 / SHARE_OF_BUDGET)
        why += f"; that is few, --minutes {enough} would give the {FEW_STEPS} that were measured"
    return _counts(head, steps, why)


def _counts(head: int, steps: int, why: str) -> list[Key]:
    """Give the keys of `head` steps of the head alone and `steps` of everything."""
    keys = [Key("train", "steps", head + steps, why)]
    if head:
        why = "of the steps, the first: the head alone, on features that are computed once"
        keys.insert(0, Key("train", "head_share", round(head / (head + steps), 3), why))
    return keys


def values_of(keys: Sequence[Key]) -> dict[str, dict[str, Any]]:
    """Nest the keys as a recipe is read."""
    values: dict[str, dict[str, Any]] = {}
    for key in keys:
        values.setdefault(key.section, {})[key.name] = key.value
    return values
