"""Recipes: everything that decides a training, in one TOML file."""

from tmkt.recipe.file import (
    dump_recipe,
    load_recipe,
    parse_recipe,
    recipe_path,
    with_settings,
)
from tmkt.recipe.schema import (
    DataRecipe,
    MethodRecipe,
    NetworkRecipe,
    QatRecipe,
    Recipe,
    StaticRecipe,
    TrainRecipe,
    recipe_keys,
)

__all__ = [
    "DataRecipe",
    "MethodRecipe",
    "NetworkRecipe",
    "QatRecipe",
    "Recipe",
    "StaticRecipe",
    "TrainRecipe",
    "dump_recipe",
    "load_recipe",
    "parse_recipe",
    "recipe_keys",
    "recipe_path",
    "with_settings",
]
