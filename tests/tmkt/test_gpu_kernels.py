"""Triton's kernels against the compiled ones of the CPU: on a GPU where there is one, else by
Triton's interpreter. `make test-gpu-kernels` installs Triton and runs them.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tmkt.networks.cpu.norm_lif import NormLif as Compiled
from tmkt.networks.fused import Setting
from tmkt.networks.lif import LIF
from tmkt.networks.norm import BatchNorm
from tmkt.recipe import NetworkRecipe

pytest.importorskip("triton", reason="Triton is not installed: make test-gpu-kernels")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if DEVICE.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip(
        "no GPU, and TRITON_INTERPRET is not 1: make test-gpu-kernels", allow_module_level=True
    )


def _run(function: Any, x: torch.Tensor, norm: nn.Module | None, lif: LIF) -> list[torch.Tensor]:
    """Give spikes, membranes, and the gradients of currents, weight and bias."""
    from tmkt.networks.norm import BatchNorm

    assert norm is None or isinstance(norm, BatchNorm)
    device, channels = x.device, x.shape[2]
    setting = Setting(
        lif.tau,
        lif.v_threshold,
        surrogate=lif.kind,
        alpha=lif.surrogate_function.alpha,
        store_membrane=lif.store_v_seq,
        norm=norm,
    )
    leaf = x.clone().requires_grad_()
    weight, bias = (
        (torch.ones(channels, device=device), torch.zeros(channels, device=device))
        if norm is None
        else (norm.weight, norm.bias)
    )
    spikes, membrane = function.apply(leaf, weight, bias, setting)
    pull = torch.linspace(-1, 2, x.numel(), device=device).view(x.shape).cos()
    loss = (spikes.float() * pull).sum()
    if membrane is not None:
        loss = loss + (membrane * pull.roll(1, 0)).sum()
    loss.backward()
    found = [spikes.detach(), leaf.grad, *([] if membrane is None else [membrane.detach()])]
    if norm is not None:
        found += [weight.grad, bias.grad, norm.running_mean, norm.running_var]
    return [tensor.cpu() for tensor in found if tensor is not None]


def _norm(channels: int, training: bool, per_step: bool) -> BatchNorm:
    norm = BatchNorm(channels)
    norm.weight.data.copy_(torch.linspace(0.5, 2, channels))
    norm.bias.data.copy_(torch.linspace(-0.3, 1, channels))
    norm.running_mean.fill_(0.3)
    norm.per_step = per_step
    return norm.train(training)


CASES = {
    "whole": (7, 3, 6, 5, 4),
    "channels beyond a block": (2, 2, 70, 3, 3),
    "more blocks than programs": (3, 4, 8, 9, 9),
    "one step": (1, 2, 3, 2, 2),
}


@pytest.mark.parametrize("shape", CASES.values(), ids=CASES)
@pytest.mark.parametrize("surrogate", ["atan", "triangle", "rectangle"])
def test_spikes_gradients_and_statistics_are_those_of_the_cpu(
    shape: tuple[int, ...], surrogate: str
) -> None:
    from tmkt.networks.gpu.norm_lif import NormLif

    torch.manual_seed(1)
    x = (torch.randn(shape) + 0.5).to(memory_format=torch.contiguous_format)
    recipe = NetworkRecipe(name="vggsnn", surrogate=surrogate, tau=1.7, threshold=0.8)
    lif = LIF(recipe, store_v_seq=surrogate == "triangle")
    training = shape != CASES["one step"]
    expected = _run(Compiled, x, _norm(shape[2], training, False), lif)
    found = _run(NormLif, x.to(DEVICE), _norm(shape[2], training, False).to(DEVICE), lif)
    assert 0.05 < float(found[0].mean()) < 0.95
    assert float((found[0] != expected[0]).float().mean()) < 1e-3
    for one, two in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(one, two, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("membranes", [False, True])
def test_without_batch_norm_spikes_are_those_of_the_cpu_bit_for_bit(membranes: bool) -> None:
    from tmkt.networks.gpu.norm_lif import NormLif

    # quarters meet the threshold exactly
    x = torch.randint(-4, 9, (12, 2, 5, 7, 9), generator=torch.Generator().manual_seed(0)) * 0.25
    lif = LIF(NetworkRecipe(name="vggsnn"), store_v_seq=membranes)
    expected, found = (
        _run(function, x.to(device), None, lif)
        for function, device in ((Compiled, "cpu"), (NormLif, DEVICE))
    )
    assert torch.equal(found[0], expected[0])
    for one, two in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


def test_per_step_statistics_are_those_of_torch_one_step_after_the_other() -> None:
    from tmkt.networks.gpu.norm_lif import NormLif

    torch.manual_seed(2)
    x = torch.randn(4, 3, 6, 5, 4) * torch.linspace(0.5, 2.0, 4).view(-1, 1, 1, 1, 1) + 0.4
    lif = LIF(NetworkRecipe(name="vggsnn"), store_v_seq=True)
    norm = _norm(6, training=True, per_step=True)
    leaf = x.clone().requires_grad_()
    pull = torch.linspace(-1, 2, x.numel()).view(x.shape).cos()
    spikes = lif(leaf, norm)
    ((spikes * pull).sum() + (lif.v_seq * pull.roll(1, 0)).sum()).backward()
    expected = [
        spikes.detach(),
        leaf.grad,
        lif.v_seq.detach(),
        norm.weight.grad,
        norm.bias.grad,
        norm.running_mean,
        norm.running_var,
    ]
    found = _run(NormLif, x.to(DEVICE), _norm(6, True, per_step=True).to(DEVICE), lif)
    assert float((found[0] != expected[0]).float().mean()) < 1e-3
    for one, two in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(one, two, rtol=2e-4, atol=2e-4)


def test_bfloat16_currents_keep_their_precision_and_statistics_float32() -> None:
    from tmkt.networks.gpu.norm_lif import NormLif

    torch.manual_seed(3)
    x = (torch.randn(5, 3, 8, 4, 4) + 0.5).bfloat16()
    lif = LIF(NetworkRecipe(name="vggsnn"), store_v_seq=True)
    expected = _run(Compiled, x.float(), _norm(8, True, False), lif)
    found = _run(NormLif, x.to(DEVICE), _norm(8, True, False).to(DEVICE), lif)
    kinds = [tensor.dtype for tensor in found]
    assert kinds == [torch.bfloat16, torch.bfloat16, *[torch.float32] * 5]
    assert torch.equal(found[0].float(), expected[0])
    for one, two in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(one.float(), two, rtol=1e-2, atol=2e-3)


def test_all_kernels_compile_for_gpus_that_are_not_here(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    script = Path(__file__).parents[1] / "support" / "compile_gpu_kernels.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**environment, "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == [
        f"sm_{capability} {currents}" for capability in (80, 90) for currents in ("fp32", "bf16")
    ]


def test_kts_step_in_bfloat16_keeps_less_than_a_quarter_of_the_published_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from saved_memory import PAIRS, SIDE, STEPS, kt_bytes_per_pair_and_step, vggsnn_values

    from tmkt.networks.gpu.norm_lif import NormLif

    monkeypatch.setattr(LIF, "forward", lambda self, x, norm=None: self._fused(NormLif, x, norm))
    side = SIDE if DEVICE.type == "cuda" else 16  # the interpreter is slow
    kept = kt_bytes_per_pair_and_step(DEVICE, "bf16", again=False, side=side)
    on_paper = {size: 2 * 2 * sum(vggsnn_values(size)) for size in (side, SIDE)}  # two streams
    assert kept == pytest.approx(on_paper[side], rel=0.1)
    assert kept / on_paper[side] * on_paper[SIDE] * PAIRS * STEPS < 38e9 / 4
