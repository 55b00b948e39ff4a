"""tmkt tune."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmkt import console
from tmkt.cli.extras import needing
from tmkt.cli.folders import training_folders
from tmkt.cli.options import (
    DataOption,
    JsonOption,
    SettingsOption,
    StaticOption,
    TestOption,
    recipe_names,
)
from tmkt.cli.tables.tune import print_search
from tmkt.errors import InputError

if TYPE_CHECKING:
    from tmkt.train.tune.search import Found

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=(
        "Example: tmkt tune nmnist-fewshot --data data/nmnist --static data/mnist --search"
        " method.mix_ratio=0.1..0.9 --search 'network.surrogate=atan|triangle' --trials 30"
    )
)
def tune(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe's name (tmkt recipes list) or a .toml file.", autocompletion=recipe_names
        ),
    ],
    data: DataOption = None,
    static: StaticOption = None,
    test: TestOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the search [runs/RECIPE-tune].", show_default=False),
    ] = None,
    searches: Annotated[
        list[str] | None,
        typer.Option(
            "--search",
            help=(
                "section.key=low..high or a|b|c; repeatable [learning rate, mix ratio, loss"
                " weights]."
            ),
            show_default=False,
        ),
    ] = None,
    settings: SettingsOption = None,
    trials: Annotated[
        int,
        typer.Option(
            "--trials", min=1, help="In all, those of earlier and other processes included."
        ),
    ] = 40,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Trainings a trial; their mean counts.")
    ] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides which values are tried.")] = 0,
    json: JsonOption = False,
) -> None:
    """Search for a better recipe: best.toml, a table and a plot of all trials.

    Trials are compared by their accuracy on the validation recordings (data.validation); test
    recordings are not used. The same command continues a search that was stopped, and joins one
    that is running: start it once for each processor or machine that sees the folder.
    """
    from tmkt.recipe import load_recipe
    from tmkt.train import RECIPES

    base = load_recipe(recipe, RECIPES, settings)
    folder, static, tested = training_folders(
        recipe, base, "tune", data=data, static=static, test=test
    )
    path = out or Path("runs") / f"{Path(recipe).stem}-tune"
    with needing("train", "tune"):
        from tmkt.train.tune.search import tune as run_tune
        from tmkt.train.tune.trials import Search
    found = run_tune(
        Search(
            recipe, settings or [], searches=searches or [], trials=trials, seeds=seeds, seed=seed
        ),
        folder,
        static=static,
        out=path,
        report=console.note,
        test=tested,
    )
    if found.interrupted:
        console.error(
            f"interrupted; {path} keeps {len(found.ended)} trials, go on with the same command"
        )
        raise SystemExit(130)
    if not found.best:
        raise InputError(
            f"{path}: none of {len(found.ended)} trials ran to its end"
            f" ({found.ended[0].why[:120]}); narrow --search"
        )
    from tmkt.train.tune.results import BEST, PLOT

    if json:
        console.emit_json(_report(recipe, path, found))
    else:
        print_search(path, found)
    given = {"--data": folder, "--static": static, "--test": tested}
    folders = [word for key, path in given.items() if path for word in (key, str(path))]
    again = ["tmkt", "train", str(path / BEST), *folders, "--out", str(path / "best")]
    console.note(f"Plot: {path / PLOT}. Next:", shlex.join(again))


def _report(recipe: str, path: Path, found: "Found") -> dict[str, Any]:
    from tmkt.train.tune.results import BEST, PLOT, TABLE
    from tmkt.train.tune.space import described

    return {
        "recipe": recipe,
        "files": {
            name: str(path / file)
            for name, file in (("best", BEST), ("trials", TABLE), ("plot", PLOT))
        },
        "validation_recordings": found.validation,
        "search": {key: described(distribution) for key, distribution in found.space.items()},
        "best": found.best[0].to_json(),
        "importance": found.importance,
        "trials": [outcome.to_json() for outcome in found.ended],
    }
