"""Makes an entry of the zoo (tmkt/zoo/) from a finished run of a backbone: weights without the
head, and the card.

python tests/bench/zoo.py runs/backbone-s s --about tests/bench/zoo-caltech101.toml

The run must have learned from images alone. ABOUT says what no program can find out: the images'
title, licence, source and folder, and known limits. All figures are computed here or stand in the
run. Equal runs give equal bytes.
"""

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path
from shlex import join
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import safe_open

from tmkt.bundle import Bundle, sha256
from tmkt.deploy.energy.report import energy
from tmkt.deploy.evaluate import wilson
from tmkt.deploy.fit.device import load_device
from tmkt.deploy.fit.network import from_program
from tmkt.deploy.fit.place import place
from tmkt.errors import InputError, explain
from tmkt.export.export import export_run
from tmkt.export.targets.c import flash_by_layer, memory_of
from tmkt.files import writing
from tmkt.recipe import Recipe, load_recipe
from tmkt.runs import CHECKPOINT, MODEL, RECIPE, Run, load_run
from tmkt.toml import load_toml
from tmkt.train import RECIPES
from tmkt.zoo.backbone import TrainedBackbone, backbone_of, load_backbone
from tmkt.zoo.card import (
    CARD,
    MAX_ZOO_BYTES,
    WEIGHTS,
    ZOO,
    Card,
    Chip,
    Cost,
    Data,
    Energy,
    HeldOut,
    Input,
    Machine,
    Training,
    Weights,
)

BITS = 8
DEVICES = ("loihi1", "loihi2")


class About(BaseModel):
    """Contents of ABOUT."""

    model_config = ConfigDict(strict=True, extra="forbid")
    title: str
    licence: str
    source: str
    folder: str
    limits: list[str]


def load_about(path: Path) -> About:
    try:
        return About.model_validate(load_toml(path))
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error)}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as TOML ({error}); correct it") from None


def add(run: Run, name: str, about: About, zoo: Path) -> Card:
    """Write weights and card to `zoo`; the card comes last, as it makes the name known."""
    if not re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", name):
        raise InputError(f"name {name!r}: expected lower-case letters, digits and single hyphens")
    for ending in (CARD, WEIGHTS):
        if (zoo / f"{name}{ending}").exists():
            raise InputError(f"{zoo / name}{ending}: exists; remove card and weights first")
    if run.info["trained_on"] or not run.info["images"]:
        raise InputError(
            f"{run.path}: learned from {len(run.info['trained_on'])} recorded instances and"
            f" {run.info['images']} images, expected images alone"
        )
    backbone = backbone_of(run)
    content = backbone.to_bytes()
    there = sum(path.stat().st_size for path in zoo.glob(f"*{WEIGHTS}"))
    if there + len(content) > MAX_ZOO_BYTES:
        raise InputError(
            f"{name}: {len(content)} bytes beside {there}, expected at most {MAX_ZOO_BYTES} in all;"
            " choose a smaller network"
        )
    card = card_of(run, name, about, backbone, content)
    with writing(zoo / f"{name}{WEIGHTS}") as beside:
        beside.write_bytes(content)
    with writing(zoo / f"{name}{CARD}") as beside:
        beside.write_text(card.model_dump_json(indent=1) + "\n", encoding="utf-8")
    assert load_backbone(name, zoo).sha256 == backbone.sha256
    return card


def card_of(run: Run, name: str, about: About, backbone: TrainedBackbone, content: bytes) -> Card:
    """Collect the card: figures of the run, and of its integers with the head that it has."""
    data, train, test = run.recipe.data, run.recipe.train, run.info["test"]
    height, width = backbone.sensor
    low, high = wilson(test["correct"], test["samples"])
    blocks = run.load_network().blocks
    return Card(
        format="tmkt-backbone",
        version=1,
        name=name,
        network=backbone.network,
        input=Input(
            height=height,
            width=width,
            bins=data.bins,
            bin_us=data.bin_us,
            max_count=data.max_count,
        ),
        weights=Weights(
            sha256=hashlib.sha256(content).hexdigest(),
            bytes=len(content),
            parameters=sum(parameter.numel() for parameter in blocks.parameters()),
        ),
        data=Data(
            title=about.title,
            licence=about.licence,
            source=about.source,
            classes=len(run.info["classes"]),
            images=run.info["images"],
            sha256=fingerprint(run),
        ),
        training=Training(
            command=command_of(run.recipe, about.folder),
            seed=train.seed,
            steps=train.steps,
            recipe_sha256=sha256(run.path / RECIPE),
            model_sha256=sha256(run.path / MODEL),
            machine=Machine(**run.info["machine"], versions=run.info["versions"]),
        ),
        held_out=HeldOut(samples=test["samples"], accuracy=test["accuracy"], low=low, high=high),
        cost=cost_of(run),
        limits=about.limits,
    )


def fingerprint(run: Run) -> str:
    """Take the hash of the images from the run's last checkpoint, which says what it saw."""
    with safe_open(run.path / CHECKPOINT, "np") as file:
        content: bytes = file.get_tensor("data").tobytes()
    return content.hex()


def command_of(recipe: Recipe, folder: str) -> str:
    """Write the command that trains a recipe: the nearest of its data set, and what differs."""
    known = {path.stem: load_recipe(path.stem, RECIPES) for path in sorted(RECIPES.glob("*.toml"))}
    differing = {
        name: changes(near, recipe)
        for name, near in known.items()
        if near.data.name == recipe.data.name
    }
    nearest = min(differing, key=lambda name: len(differing[name]))
    settings = [word for change in differing[nearest] for word in ("--set", change)]
    return join(
        ["tmkt", "train", nearest, "--static", folder, "--out", f"runs/{nearest}", *settings]
    )


def changes(near: Recipe, recipe: Recipe) -> list[str]:
    """List the settings, "section.key=value", that make `near` the recipe."""
    before = near.model_dump()
    return [
        f"{section}.{key}={json.dumps(value)}"  # JSON's numbers, strings and lists are TOML's
        for section, values in recipe.model_dump().items()
        for key, value in values.items()
        if before[section][key] != value
    ]


def cost_of(run: Run) -> Cost:
    """Export the run as integers, place them, and count what its calibration frames cost."""
    frames, labels = run.load_calibration(), run.load_calibration_labels()
    if labels is None:
        raise InputError(f"{run.path}: calibration frames without classes; train again")
    with TemporaryDirectory() as folder:
        bundle = export_run(run, Path(folder) / "bundle", [], BITS, frames)
        report = energy(bundle, DEVICES, frames, labels)
    program, memory = bundle.program, memory_of(bundle.program)
    return Cost(
        bits=BITS,
        head_classes=program.classes,
        neurons=sum(layer.neurons for layer in program.layers),
        weights=sum(one.weight.size for layer in program.layers for one in layer.synapses),
        recordings=len(frames),
        synops=report["trace"]["synops_per_sample"],
        spikes=report["trace"]["spikes_per_sample"],
        chips=[chip_of(bundle, device) for device in DEVICES],
        energy=[
            Energy(**{key: found[key] for key in Energy.model_fields})
            for found in report["estimates"]
        ],
        flash_bytes=memory.flash_bytes,
        head_flash_bytes=flash_by_layer(program)[program.layers[-1].name],
        ram_bytes=memory.ram_bytes,
    )


def chip_of(bundle: Bundle, device: str) -> Chip:
    """Place the bundle's program on one chip."""
    placement = place(from_program(bundle.program), load_device(device))
    head = placement.layers[-1]
    return Chip(
        device=device,
        fits=placement.fits(1),
        cores=None if placement.misfits else placement.cores,
        head_cores=None if head.over else head.cores,
        chips=None if placement.misfits else placement.chips,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="finished run of a backbone")
    parser.add_argument("name", help="of the entry, as backbone-s")
    parser.add_argument("--about", type=Path, required=True, help="TOML, see zoo-caltech101.toml")
    parser.add_argument("--zoo", type=Path, default=ZOO, help="folder to write to [tmkt/zoo]")
    options = parser.parse_args()
    card = add(load_run(options.run), options.name, load_about(options.about), options.zoo)
    print(card.model_dump_json(indent=1))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
