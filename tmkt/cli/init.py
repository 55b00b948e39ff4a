"""Command `tmkt init`: a recipe for a folder of recordings."""

from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmkt import console
from tmkt.cli.folders import need_data, need_test
from tmkt.cli.option_groups import with_option_groups
from tmkt.cli.options import JsonOption, StaticOption, TestOption
from tmkt.cli.places import ForceOption, need_free_place, need_place
from tmkt.cli.tables.init import print_proposal
from tmkt.errors import InputError
from tmkt.install import pip_install

if TYPE_CHECKING:
    from tmkt.deploy.fit.device import Device
    from tmkt.proposal.proposal import Chosen, Key
    from tmkt.proposal.survey import ImagesSurvey, RecordingsSurvey
    from tmkt.recipe import NetworkRecipe

app = typer.Typer(rich_markup_mode=None)


@dataclass(frozen=True)
class _Wanted:
    """Options of the recipe to write."""

    device: Annotated[
        str,
        typer.Option("--device", help="Chip that the network must fit: loihi1, loihi2, FILE.toml."),
    ] = "loihi2"
    minutes: Annotated[
        float,
        typer.Option("--minutes", min=0.01, help="Time that training may take on this machine."),
    ] = 5.0
    out: Annotated[Path, typer.Option("--out", help="Recipe to write.")] = Path("recipe.toml")
    force: ForceOption = False


@app.command(
    epilog="Example: tmkt init recordings --static photographs --test other-day --out mine.toml"
)
@with_option_groups
def init(
    data: Annotated[
        Path, typer.Argument(help="Folder of the recordings: class/recording or class/session/...")
    ],
    wanted: _Wanted,
    static: StaticOption = None,
    test: TestOption = None,
    json: JsonOption = False,
) -> None:
    """Look at a folder of your own recordings, and write a recipe that trains on them."""
    import tmkt.train  # noqa: F401 - before torch: it sets how torch's threads wait
    from tmkt.deploy.fit.device import load_device
    from tmkt.proposal.defects import find_defects
    from tmkt.proposal.proposal import choose, steps_keys, values_of
    from tmkt.proposal.text import path_keys, recipe_text

    need_place(wanted.out)
    need_free_place(wanted.out, wanted.force, "--out")
    chip = load_device(wanted.device)
    seen, tested, images = _look(need_data(data, "init", "its name"), need_test(test), static)
    chosen = choose(seen, tested, images, lambda *network: _cores(chip, *network), _backbones())
    used = static if chosen.method.uses_images else None
    keys = _keys(chosen, seen, tested, chip, wanted.device)
    keys += path_keys(wanted.out, data, used, test)
    seconds, refusal = _seconds_a_step(values_of(keys), data, used, test)
    keys += steps_keys(chosen, wanted.minutes, seconds)
    _write(wanted.out, recipe_text(_title(seen), keys))
    defects = find_defects(seen, tested, images, chosen.method.uses_images)
    following = join(["tmkt", "train", str(wanted.out)])
    if json:
        from tmkt.proposal.report import report

        found = report(seen, tested, images=images, chosen=chosen, keys=keys, defects=defects)
        found |= {
            "recipe": str(wanted.out),
            "device": wanted.device,
            "seconds_a_step": seconds,
            "refusal": refusal,
            "next": following,
        }
        console.emit_json(found)
        return
    print_proposal(seen, tested, images=images, chosen=chosen, keys=keys, defects=defects)
    written = f"{wanted.out}: written. Next:"
    if refusal:
        console.note(f"training refuses the data as they are: {refusal}")
        written += " mend that, then:"
    console.note(written, following)


def _look(
    data: Path, test: Path | None, static: Path | None
) -> "tuple[RecordingsSurvey, RecordingsSurvey | None, ImagesSurvey | None]":
    """Read all recordings and images, with progress."""
    from tmkt.proposal.survey import survey_images, survey_recordings

    with console.progress("recordings") as update:
        seen = survey_recordings(data, update)
    tested = images = None
    if test is not None:
        with console.progress("recordings to test") as update:
            tested = survey_recordings(test, update)
    if static is not None:
        with console.progress("images") as update:
            images = survey_images(static, update)
    return seen, tested, images


def _cores(
    chip: "Device", network: dict[str, Any], size: tuple[int, int], classes: int
) -> int | None:
    """Place a network on one chip; give its cores, None where it does not fit."""
    from tmkt.deploy.fit.network import from_recipe
    from tmkt.deploy.fit.place import place
    from tmkt.recipe import NetworkRecipe

    placement = place(from_recipe(NetworkRecipe(**network), (2, *size), classes), chip)
    return placement.cores if placement.fits(1) else None


def _keys(
    chosen: "Chosen",
    seen: "RecordingsSurvey",
    tested: "RecordingsSurvey | None",
    chip: "Device",
    device: str,
) -> "list[Key]":
    from tmkt.proposal.covered import describe_covered
    from tmkt.proposal.proposal import keys_of

    every = [*seen.recordings, *(tested.recordings if tested else ())]
    covered = describe_covered(every, chosen)
    return keys_of(chosen, seen, device, chip.limits.cores, covered)


def _backbones() -> "list[tuple[str, NetworkRecipe]]":
    """List the backbones of the zoo, those with the most neurons first: they learn better."""
    from tmkt.zoo.card import load_card, names

    cards = sorted(map(load_card, names()), key=lambda card: (-card.cost.neurons, card.name))
    return [(card.name, card.network) for card in cards]


def _seconds_a_step(
    values: dict[str, dict[str, Any]], data: Path, static: Path | None, test: Path | None
) -> tuple[float | None, str | None]:
    """Measure some real steps; give the time of one, or why training refuses the data."""
    from tmkt.recipe import parse_recipe

    try:
        from tmkt.train.data import load_training_data
        from tmkt.train.speed import seconds_a_step
    except ModuleNotFoundError as error:
        raise InputError(f"init: {error.name} is not installed; {pip_install('train')}") from None
    values = {name: section for name, section in values.items() if name != "paths"}
    values["train"] = {**values["train"], "steps": 1}
    recipe = parse_recipe(values, "init")
    try:
        source = load_training_data(recipe, data, static, static is not None, test)
    except InputError as error:
        return None, str(error)
    console.note("Measuring the speed of some steps ...")
    return seconds_a_step(recipe, source), None


def _title(seen: "RecordingsSurvey") -> str:
    return (
        f"Proposed by tmkt init for {len(seen.recordings)} recordings of"
        f" {len(seen.classes)} classes. All other keys have their defaults: tmkt recipes show FILE"
    )


def _write(out: Path, text: str) -> None:
    from tmkt.files import writing

    with writing(out) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")
