"""Terminal table of recipes."""

from typing import TYPE_CHECKING

from tmkt.cli.tables.table import table

if TYPE_CHECKING:
    from tmkt.recipe import DataRecipe, Recipe


def print_recipes(recipes: "dict[str, Recipe]") -> None:
    """Print recipes by name."""
    rows: list[list[object]] = [
        [name, r.data.name, r.network.name, r.method.name, _split(r.data), r.train.steps]
        for name, r in recipes.items()
    ]
    table("Recipes", ["name", "data set", "network", "method", "recordings", "steps"], rows)


def _split(data: "DataRecipe") -> str:
    """Describe the recordings that a recipe trains on, in a few letters."""
    if data.protocol == "paper":
        return "published split"
    if data.shots:
        return f"{data.shots} a class"
    return f"{100 * data.train_share:g} % a class"
