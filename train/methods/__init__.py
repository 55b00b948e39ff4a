"""What each training method combines: one file a method. A new one is entered here and by its name
in tmkt/recipe.py.
"""

from tmkt.train.methods.base import (
    Batch,
    Losses,
    Method,
    Setting,
    weighted,
    without_running_statistics,
)
from tmkt.train.methods.ckd import CrossKnowledgeDistillation
from tmkt.train.methods.finetune import Finetune
from tmkt.train.methods.joint import Joint
from tmkt.train.methods.kt import KnowledgeTransfer
from tmkt.train.methods.mix import Mix
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
}

__all__ = [
    "METHODS",
    "Batch",
    "Losses",
    "Method",
    "Setting",
    "weighted",
    "without_running_statistics",
]
