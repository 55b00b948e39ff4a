"""Commands `tmkt train` and `tmkt recipes`."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from tmkt import console
from tmkt.cli.folders import need_data_of, need_test, training_folders
from tmkt.cli.group import Group
from tmkt.cli.options import DataOption, SettingsOption, StaticOption, TestOption, recipe_names
from tmkt.cli.steps import run_qat, run_training
from tmkt.cli.tables.recipes import print_recipes

app = typer.Typer(rich_markup_mode=None)
recipes_app = typer.Typer(
    help="List the training recipes, show one.",
    epilog="Example: tmkt recipes show nmnist-fewshot",
    cls=Group,
    rich_markup_mode=None,
    no_args_is_help=True,
)


@app.command(
    epilog=(
        "Example: tmkt train nmnist-fewshot --data data/nmnist --static data/mnist --out"
        " runs/nmnist --set train.seed=1"
    )
)
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe's name (tmkt recipes list) or a .toml file; or --qat's run.",
            autocompletion=recipe_names,
        ),
    ],
    data: DataOption = None,
    static: StaticOption = None,
    test: TestOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder to write the run to [runs/RECIPE].", show_default=False),
    ] = None,
    settings: SettingsOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")] = False,
    qat: Annotated[
        str | None,
        typer.Option(
            "--qat", help="Bits: train the finished run RECIPE on, as integers.", show_default=False
        ),
    ] = None,
) -> None:
    """Train a network: a run with its weights, metrics and recipe."""
    if qat is not None:
        from tmkt.runs import load_run

        path = out or Path("runs") / f"{Path(recipe).resolve().name}-qat"
        run_qat(
            Path(recipe),
            qat,
            settings=settings,
            data=need_data_of(load_run(Path(recipe)).recipe, data, "train"),
            static=static,
            out=path,
            resume=resume,
            test=need_test(test),
        )
        _note_export(path)
        return
    from tmkt.recipe import load_recipe
    from tmkt.train import RECIPES

    chosen = load_recipe(recipe, RECIPES, settings)
    folder, images, tested = training_folders(
        recipe, chosen, "train", data=data, static=static, test=test
    )
    path = out or Path("runs") / Path(recipe).stem
    run_training(chosen, folder, images, path, resume, test=tested)
    _note_export(path)


def _note_export(run: Path) -> None:
    bundle = quote(f"bundles/{run.name}")
    console.note("Next:", f"tmkt export {quote(str(run))} --target all --out {bundle}")


@recipes_app.command("list", epilog="Example: tmkt recipes list")
def recipes_list() -> None:
    """List the recipes that come with tmkt."""
    from tmkt.recipe import load_recipe
    from tmkt.train import RECIPES

    print_recipes({p.stem: load_recipe(p.stem, RECIPES) for p in sorted(RECIPES.glob("*.toml"))})


@recipes_app.command("show", epilog="Example: tmkt recipes show nmnist-fewshot > mine.toml")
def recipes_show(
    name: Annotated[
        str, typer.Argument(help="A recipe's name or file.", autocompletion=recipe_names)
    ],
    every: Annotated[
        bool, typer.Option("--all", help="Every key, not only those that differ from the defaults.")
    ] = False,
) -> None:
    """Print a recipe as TOML, each key with a comment."""
    from tmkt.recipe import load_paths, load_recipe, recipe_path
    from tmkt.recipe.comments import commented
    from tmkt.train import RECIPES

    recipe, paths = load_recipe(name, RECIPES), load_paths(name, RECIPES)
    text = recipe_path(name, RECIPES).read_text(encoding="utf-8")
    for line in commented(recipe, text, paths, every=every).splitlines():
        console.say_as_it_is(console.printable(line))
    if not every:
        console.note(
            "All other keys have their defaults:", f"tmkt recipes show {quote(name)} --all"
        )
