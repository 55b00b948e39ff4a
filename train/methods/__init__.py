"""What each training method combines: one file a method. A new one is entered here and by its name in tmkt/recipe.py."""

from tmkt.train.methods.base import Batch, Losses, Method, Setting, without_running_statistics
from tmkt.train.methods.target_only import TargetOnly
from tmkt.train.methods.tmkt import Tmkt

METHODS: dict[str, type[Method]] = {"tmkt": Tmkt, "target-only": TargetOnly, "events": TargetOnly}

__all__ = ["METHODS", "Batch", "Losses", "Method", "Setting", "without_running_statistics"]
