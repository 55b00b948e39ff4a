"""Recipes: everything that decides a training, in one TOML file."""

from tmkt.recipe.data import DataRecipe
from tmkt.recipe.file import (
    dump_recipe,
    load_recipe,
    parse_recipe,
    recipe_path,
    with_settings,
)
from tmkt.recipe.paths import RecipePaths, load_paths
from tmkt.recipe.schema import (
    MethodRecipe,
    NetworkRecipe,
    QatRecipe,
    Recipe,
    StaticRecipe,
    recipe_keys,
)
from tmkt.recipe.train import TrainRecipe

__all__ = [
    "DataRecipe",
    "MethodRecipe",
    "NetworkRecipe",
    "QatRecipe",
    "Recipe",
    "RecipePaths",
    "StaticRecipe",
    "TrainRecipe",
    "dump_recipe",
    "load_paths",
    "load_recipe",
    "parse_recipe",
    "recipe_keys",
    "recipe_path",
    "with_settings",
]
