"""Search space of `tmkt tune`: ranges and choices of recipe keys, as Optuna's distributions."""

import math
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tmkt.errors import InputError, nearest
from tmkt.recipe import Recipe, recipe_keys

Space = dict[str, BaseDistribution]

# They decide which recordings are trained on, choose and are tested: trials would be measured on
# different ones, and on what another's test holds.
SPLIT = (
    "data.name",
    "data.protocol",
    "data.shots",
    "data.train_share",
    "data.validation",
    "train.seed",
)
LOG_FROM = 10.0  # high / low from which a range is searched by its logarithm
# What a method's accuracy may hang on (docs/methods.md): weights of losses, and a share between 0
# and 1.
WEIGHTS = {
    "tmkt": ("alignment", "modality_guidance", "ratio_perception"),
    "kt": ("alignment",),
    "ckd": ("alignment", "distillation"),
}
SHARES = {
    "tmkt": "mix_ratio",
    "mix": "real_share",
    "adapt": "real_share",
    "finetune": "pretrain_share",
}


def default_searches(recipe: Recipe) -> list[str]:
    """Return the default search space of a recipe.

    The learning rate by a factor of 4 up and down, the method's weights by 10, its share. What the
    recipe has switched off (0) stays off. The ranges are ours.
    """
    found = {
        f"method.{name}": (getattr(recipe.method, name), 10.0)
        for name in WEIGHTS.get(recipe.method.name, ())
    }
    found["train.learning_rate"] = (recipe.train.learning_rate, 4.0)
    share = SHARES.get(recipe.method.name)
    shares = [f"method.{share}=0.1..0.9"] if share and getattr(recipe.method, share) else []
    return [
        *shares,
        *(
            f"{key}={value / factor:.4g}..{value * factor:.4g}"
            for key, (value, factor) in found.items()
            if value
        ),
    ]


def parse_search(text: str) -> tuple[str, BaseDistribution]:
    """Parse `section.key=low..high` or `section.key=a|b|c` to a key and its distribution.

    A range is searched by its logarithm where low > 0 and high / low >= 10. Raises InputError for
    other text, an unknown key, or a key that must not differ between trials.
    """
    key, equals, values = (part.strip() for part in text.partition("="))
    if not equals or not values:
        raise _wrong(
            text,
            "expected section.key=low..high, as in method.mix_ratio=0.1..0.9, or section.key=a|b|c",
        )
    kind = _kind(key, text)
    if key in SPLIT:
        raise _wrong(
            text,
            f"{key} decides which recordings are trained on and tested, expected a key that leaves"
            " them alone; give it with --set",
        )
    if "|" in values:
        choices = [choice.strip() for choice in values.split("|")]
        if "" in choices or len(set(choices)) < len(choices):
            raise _wrong(
                text,
                "an empty or repeated choice, expected different ones, as in"
                " network.surrogate=atan|triangle",
            )
        return key, CategoricalDistribution(choices)
    if ".." not in values:
        raise _wrong(
            text,
            "one value, expected low..high or a|b|c; give what is to stay with --set"
            f" {key}={values}",
        )
    if kind not in (int, float):
        raise _wrong(text, f"{key} is no number, expected choices, as in {key}=a|b")
    low, high = (_number(end, kind, text) for end in values.split("..", 1))
    if not low < high:
        raise _wrong(text, f"low is {low:g} and high {high:g}, expected low below high")
    log = low > 0 and high / low >= LOG_FROM
    return key, (
        IntDistribution(int(low), int(high), log=log)
        if kind is int
        else FloatDistribution(low, high, log=log)
    )


def _kind(key: str, text: str) -> Any:
    """Return the type of a recipe's key."""
    known = recipe_keys()
    if key not in known:
        raise _wrong(
            text, f"unknown key {key!r}{nearest(key, list(known))}; see: tmkt recipes show NAME"
        )
    return known[key]


def _number(text: str, kind: type, whole: str) -> float:
    try:
        value = float(kind(text.strip()))
    except (ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise _wrong(
            whole, f"{text.strip()!r}, expected {'a whole number' if kind is int else 'a number'}"
        )
    return value


def _wrong(text: str, why: str) -> InputError:
    return InputError(f"--search {text!r}: {why}")


def ends(distribution: BaseDistribution) -> list[str]:
    """Return the values that a recipe must accept, as TOML: both ends of a range, every choice."""
    if isinstance(distribution, CategoricalDistribution):
        return [str(choice) for choice in distribution.choices]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return [repr(distribution.low), repr(distribution.high)]


def setting(value: Any, distribution: BaseDistribution) -> str:
    """Format a value as TOML; a float with four digits, which is all that a search can
    tell apart.
    """
    if isinstance(distribution, FloatDistribution):
        return repr(min(max(float(f"{value:.4g}"), distribution.low), distribution.high))
    return str(value)


def described(distribution: BaseDistribution) -> str:
    """Format a distribution as `--search` takes it, with the scale."""
    if isinstance(distribution, CategoricalDistribution):
        return " | ".join(map(str, distribution.choices))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return f"{distribution.low:g}..{distribution.high:g}{', log' if distribution.log else ''}"
