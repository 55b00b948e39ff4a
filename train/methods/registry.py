"""The training methods by name, one file each.

A new method is entered here, and its name in tmkt/recipe.py.
"""

from pathlib import Path

from tmkt.recipe import Recipe
from tmkt.train.methods.adapt import Adapt
from tmkt.train.methods.base import Method
from tmkt.train.methods.ckd import CrossKnowledgeDistillation
from tmkt.train.methods.finetune import Finetune
from tmkt.train.methods.joint import Joint
from tmkt.train.methods.kt import KnowledgeTransfer
from tmkt.train.methods.mix import Mix
from tmkt.train.methods.static_only import StaticOnly
from tmkt.train.methods.target_only import TargetOnly
from tmkt.train.methods.tmkt import Tmkt

METHODS: dict[str, type[Method]] = {
    "target-only": TargetOnly,
    "finetune": Finetune,
    "kt": KnowledgeTransfer,
    "ckd": CrossKnowledgeDistillation,
    "tmkt": Tmkt,
    "joint": Joint,
    "mix": Mix,
    "adapt": Adapt,
    "static-only": StaticOnly,
}


def learns_from_images(recipe: Recipe, static: Path | None) -> bool:
    """Tell whether a training reads images; `static` is the folder of them that is given."""
    images = METHODS[recipe.method.name].images
    return images == "needed" or (images == "optional" and static is not None)
