"""Command tmkt fit: placement on a chip's cores."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmkt import console
from tmkt.cli.options import DataOption, JsonOption, LimitOption, SplitOption
from tmkt.cli.steps import read_recordings
from tmkt.cli.tables.fit import print_fit, print_fit_layers
from tmkt.errors import InputError

if TYPE_CHECKING:
    from tmkt.bundle import Bundle
    from tmkt.deploy.fit.network import Network
    from tmkt.recipe import Recipe

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog="Example: tmkt fit bundles/nmnist --device loihi2 --data data/nmnist --limit 20"
)
def fit(
    target: Annotated[
        str, typer.Argument(help="A bundle, a run, a .nir file, or a recipe (name or .toml file).")
    ],
    device: Annotated[
        str,
        typer.Option("--device", help="loihi1, loihi2, speck2f, or a device file ending in .toml."),
    ] = "loihi2",
    chips: Annotated[
        int | None,
        typer.Option(
            "--chips", min=1, help="At most so many chips [the largest system].", show_default=False
        ),
    ] = None,
    spread: Annotated[
        int | None,
        typer.Option(
            "--spread", min=1, help="Use up to so many cores, for speed.", show_default=False
        ),
    ] = None,
    data: DataOption = None,
    split: SplitOption = "test",
    limit: LimitOption = 20,
    json: JsonOption = False,
) -> None:
    """Place a network on a chip's cores: does it fit, and how fast would it be; exit code 1 if it
    does not fit.

    With --data, a bundle's spikes are counted: traffic between cores, and the time of a step.
    """
    from tmkt.deploy.fit.device import load_device
    from tmkt.deploy.fit.layer_cores import layer_core_devices
    from tmkt.deploy.fit.report import fit as run_fit

    if device in layer_core_devices():
        if (data, chips, spread) != (None, None, None):
            raise InputError(
                f"--device {device}: --data, --chips or --spread given, expected none: one chip, a"
                " layer a core, and no times are published; leave them out"
            )
        raise typer.Exit(0 if _fit_layers(target, device, json) else 1)
    chip = load_device(device)
    network, bundle = _open(target)
    frames = None
    if data is not None:
        if bundle is None:
            raise InputError(
                f"{target}: --data counts the spikes of integers, expected a bundle; make one with:"
                " tmkt export, or leave out --data"
            )
        frames, _ = read_recordings(bundle, data, split, limit, "fit")
    with console.progress("fit") as update:
        total = 0 if frames is None else len(frames)
        report = run_fit(
            network,
            chip,
            chips=chips,
            spread=spread,
            bundle=bundle,
            frames=frames,
            progress=lambda done: update(done, total, None),
        )
    if json:
        console.emit_json({"network": target, **report})
    else:
        print_fit(target, report)
    raise typer.Exit(0 if report["fits"] else 1)


def _fit_layers(target: str, device: str, json: bool) -> bool:
    """Find a core for each layer on a chip whose cores run a layer each; tell whether all fit."""
    from tmkt.deploy.fit.layer_cores import fit_layers

    report = fit_layers(device, _open(target)[0])
    if json:
        console.emit_json({"network": target, **report})
    else:
        print_fit_layers(target, report)
    return bool(report["fits"])


def _open(target: str) -> "tuple[Network, Bundle | None]":
    """Open a target; returns its network, and the bundle if it is one."""
    from tmkt import bundle as bundles
    from tmkt.deploy.fit.network import from_nir, from_program

    path = Path(target)
    if path.suffix == ".nir":
        return from_nir(path), None
    if (path / bundles.MANIFEST).is_file():
        bundle = bundles.load(path)  # compiles nothing: a fit runs no network without --data
        return from_program(bundle.program), bundle
    if path.is_dir() or (not target.endswith(".toml") and len(path.parts) > 1):
        return _run_network(path), None
    return _recipe_network(target), None


def _run_network(path: Path) -> "Network":
    from tmkt.deploy.fit.network import from_recipe
    from tmkt.runs import INFO, RECIPE, load_run, load_run_recipe

    if not (path / RECIPE).is_file():
        found = "neither a bundle nor a run" if path.exists() else "no such file or folder"
        raise InputError(
            f"{path}: {found}, expected a bundle, a run, a .nir file or a recipe; see: tmkt recipes"
            " list"
        )
    recipe = load_run_recipe(path)
    if not (path / INFO).is_file():  # not finished: its network is decided all the same
        return _untrained(recipe)
    info = load_run(path).info
    shape, classes = (2, *info["sensor"]), len(info["classes"])
    return from_recipe(recipe.network, shape, classes, recipe.qat.bits)


def _recipe_network(name: str) -> "Network":
    from tmkt.recipe import load_paths, load_recipe
    from tmkt.train import RECIPES

    return _untrained(load_recipe(name, RECIPES), load_paths(name, RECIPES).data)


def _untrained(recipe: "Recipe", data: Path | None = None) -> "Network":
    from tmkt.datasets.decoded import known_shape
    from tmkt.deploy.fit.network import from_recipe

    if recipe.network.name == "init":
        from tmkt.train.start import load_init, with_init

        if backbone := load_init(recipe):
            recipe = with_init(recipe, backbone)
    sensor, classes = known_shape(recipe.data, data)
    return from_recipe(recipe.network, (2, *sensor), classes, recipe.qat.bits)
