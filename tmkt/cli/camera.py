"""tmkt data fit-camera."""

from pathlib import Path
from typing import Annotated

import typer

from tmkt import console
from tmkt.cli.options import DataOption, JsonOption
from tmkt.cli.steps import need_data


def register(app: typer.Typer) -> None:
    """Adds the command to `tmkt data`."""
    app.command(
        "fit-camera",
        epilog=(
            "Example: tmkt data fit-camera nmnist-fewshot-sim --data data/nmnist --static"
            " data/mnist --out fitted.toml"
        ),
    )(data_fit_camera)


def data_fit_camera(
    recipe: Annotated[
        str, typer.Argument(help="A recipe's name (tmkt recipes list) or a .toml file.")
    ],
    data: DataOption = None,
    static: Annotated[
        Path | None, typer.Option("--static", help="Folder of the images.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Recipe to write, with the fitted camera.", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="section.key=value, over the recipe's; repeatable.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fit the simulated camera to the recordings that the recipe would train on; print its [static]
    section.
    """
    from tmkt.camera.fit import fit_recipe
    from tmkt.files import writing
    from tmkt.recipe import dump_recipe, dump_section, load_recipe
    from tmkt.train import RECIPES

    chosen = load_recipe(recipe, RECIPES, settings)
    with console.progress("fit") as update:
        fitted, fit = fit_recipe(
            chosen,
            need_data(data, "fit-camera"),
            static,
            lambda done, total: update(done, total, None),
        )
    if out:
        with writing(out) as beside:
            beside.write_text(dump_recipe(fitted), encoding="utf-8")
    if as_json:
        distances = {"distance_before": fit.distance_before, "distance": fit.distance}
        console.emit_json(
            {
                "recordings": fit.recordings,
                "seed": chosen.train.seed,
                **distances,
                "static": fit.camera.model_dump(),
            }
        )
    else:
        print(dump_section("static", fit.camera.model_dump()), end="")
    moved = f"distance from them {fit.distance_before:.3f} -> {fit.distance:.3f}"
    console.note(
        f"Fitted to {fit.recordings} recordings, those that seed {chosen.train.seed} trains on;"
        f" {moved}"
    )
    if out:
        console.note(
            f"Next: tmkt train {out} --data {data}{f' --static {static}' if static else ''}"
        )
