"""The processor: what kernels are compiled for, and what users are told of it."""

import pytest
import torch
from numba import config

from tmkt import processor
from tmkt.deploy.doctor import examine
from tmkt.recipe import TrainRecipe
from tmkt.train.runtime import describe_arithmetic

CPU = torch.device("cpu")


def test_the_features_are_those_that_numba_compiles_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "CPU_FEATURES", "+avx2,-avx512f,+amx-bf16")
    assert processor.features.__wrapped__() == {"avx2", "amx-bf16"}
    monkeypatch.setattr(config, "CPU_FEATURES", None)
    monkeypatch.setattr(config, "CPU_NAME", "generic")
    assert processor.features.__wrapped__() == set()


@pytest.mark.parametrize(
    ("feature", "shown", "faster"),
    [
        ("avx512bf16", "AVX-512 bfloat16", "1.2 times as fast"),
        ("amx-bf16", "AMX bfloat16", "1.7 times as fast for a wide network"),
    ],
)
def test_who_has_bfloat16_is_told_by_doctor_and_training(
    monkeypatch: pytest.MonkeyPatch, feature: str, shown: str, faster: str
) -> None:
    recipe = TrainRecipe(steps=1)
    monkeypatch.setattr(processor, "features", lambda: frozenset({"avx2", feature}))
    [found] = [one for one in examine() if one["part"] == "processor"]
    assert found["found"] is not None
    assert found["found"].endswith(f"{shown}, AVX2")
    for said in (str(found["advice"]), str(describe_arithmetic(recipe, CPU))):
        assert "train.precision=bf16" in said
        assert faster in said
    for other in ({"precision": "bf16"}, {"freeze": True}):
        assert describe_arithmetic(recipe.model_copy(update=other), CPU) is None


def test_nobody_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "features", lambda: frozenset({"avx2"}))
    [found] = [one for one in examine() if one["part"] == "processor"]
    assert found["advice"] is None
    assert describe_arithmetic(TrainRecipe(steps=1), CPU) is None
