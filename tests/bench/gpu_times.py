"""Times of whole training steps on a GPU: batch, losses, gradients, optimiser; their memory."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import torch
from gpu_data import papers_recipe, random_data

from tmkt.networks import SpikingNetwork, lif
from tmkt.recipe import Recipe
from tmkt.train.ahead import Ahead
from tmkt.train.methods.registry import METHODS
from tmkt.train.optimiser import make_optimizer
from tmkt.train.runtime import computing
from tmkt.train.samples import draw_samples
from tmkt.train.step import Learner, train_step

PUBLISHED_PAIRS_S, PUBLISHED_GB = 145.0, 38.0  # Knowledge Transfer's step on an A100, see methods
KT, TMKT = "ncaltech101-kt", "ncaltech101-tmkt"


@dataclass(frozen=True)
class Case:
    """A step to be timed: a recipe, settings, and whether SpikingJelly's neurons compute it."""

    name: str
    recipe: str
    settings: tuple[str, ...] = ()
    spikingjelly: bool = False


def _cases() -> list[Case]:
    """List the cases, the most telling first: time may run out."""
    bf16, tf32 = "train.precision=bf16", "train.precision=tf32"
    simulated = ("static.encoding=simulated",)
    return [
        Case("KT, bf16", KT, (bf16,)),
        Case("KT, tf32", KT, (tf32,)),
        Case("KT, fp32", KT),
        Case("TMKT, bf16", TMKT, (bf16,)),
        Case("TMKT, tf32", TMKT, (tf32,)),
        Case("TMKT, fp32", TMKT),
        Case("KT, bf16, SpikingJelly's neurons", KT, (bf16,), spikingjelly=True),
        Case("KT, bf16, computed again", KT, (bf16, "train.recompute=true")),
        Case("KT, tf32, computed again", KT, (tf32, "train.recompute=true")),
        Case("TMKT, bf16, simulated camera", TMKT, (bf16, *simulated)),
        Case("KT on CEP-DVS (ResNet-18), bf16", "cepdvs-kt", (bf16,)),
        Case("KT on N-Omniglot (SCNN), bf16", "nomniglot-kt", (bf16,)),
    ]


CASES = _cases()


@contextmanager
def steps_of(case: Case, device: torch.device, tiny: bool) -> Iterator[Callable[[], Any]]:
    """Set up a training; each call of what is given takes its next step and gives the metrics."""
    recipe = papers_recipe(case.recipe, tiny, "train.steps=1000", *case.settings)
    classes = 10 if tiny else {"cepdvs-kt": 20, "nomniglot-kt": 1623}.get(case.recipe, 101)
    data = random_data(recipe, classes, max(classes, 2 * recipe.train.batch))
    torch.manual_seed(0)
    net = SpikingNetwork(recipe.network, (2, *data.sensor), classes)
    method = METHODS[recipe.method.name](recipe.method, net, recipe.data.bins)
    net.to(device).recompute = recipe.train.recompute
    optimizer = make_optimizer(net, method.to(device), recipe.train)
    learner = Learner(net.train(), method, optimizer, recipe.train, device)

    def draw(step: int) -> Any:
        rng = np.random.default_rng([0, step])
        return rng, draw_samples(data, recipe, rng, device, step)

    done = 0
    fused = mock.patch.object(lif, "fused_on_gpu", return_value=None)
    with computing(recipe.train, device), closing(Ahead(draw, 1000, device)) as ahead:

        def step() -> dict[str, float]:
            nonlocal done
            rng, samples = ahead.take(done)
            batch = samples.batch(recipe, data.sensor, device)
            batch = method.exchange(batch, rng, done / recipe.train.steps)
            found = train_step(learner, batch, done, rng, stop=False)
            done += 1
            return found.metrics

        if case.spikingjelly:
            with fused:
                yield step
        else:
            yield step


def timed(case: Case, device: torch.device, tiny: bool) -> dict[str, Any]:
    """Time the steps of a case: ms a step, pairs a second, GB at the peak, waits for the GPU."""
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
    recipe = papers_recipe(case.recipe, tiny, *case.settings)
    with steps_of(case, device, tiny) as step:
        for _ in range(1 if tiny else 4):
            metrics = step()
        if on_gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        began, count = time.perf_counter(), 1 if tiny else 8
        for _ in range(count):
            metrics = step()
        if on_gpu:
            torch.cuda.synchronize()
        seconds = (time.perf_counter() - began) / count
        peak = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else None
        waits = _waits(step) if on_gpu else None
    pairs_s = recipe.train.batch / seconds
    return {
        "case": case.name,
        "batch": recipe.train.batch,
        "ms": 1e3 * seconds,
        "pairs_s": pairs_s,
        "peak_gb": peak,
        "waits": waits,
        "loss": metrics["loss"],
        "finite": bool(np.isfinite(metrics["loss"])),
    }


def _waits(step: Callable[[], object]) -> int:
    """Count how often the host waits for the GPU in a step, as torch notices."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in found)


def alone(device: torch.device, tiny: bool) -> dict[str, Any]:
    """Time the making of batches without a network: does it keep ahead of the steps?"""
    found: dict[str, Any] = {}
    for encoding in ("grey", "simulated"):
        recipe = papers_recipe(TMKT, tiny, f"static.encoding={encoding}")
        data = random_data(recipe, 10, 2 * recipe.train.batch)
        found[encoding] = recipe.train.batch / _batch_seconds(recipe, data, device, tiny)
    return found


def _batch_seconds(recipe: Recipe, data: Any, device: torch.device, tiny: bool) -> float:
    def draw(step: int) -> Any:
        return draw_samples(data, recipe, np.random.default_rng(step), device, step)

    count = 2 if tiny else 20
    with closing(Ahead(draw, 1000, device)) as ahead:
        for step in range(count + 2):
            if step == 2:
                if device.type == "cuda":
                    torch.cuda.synchronize()
                began = time.perf_counter()
            ahead.take(step).batch(recipe, data.sensor, device)
        if device.type == "cuda":
            torch.cuda.synchronize()
    return (time.perf_counter() - began) / count


def profiled(device: torch.device, tiny: bool) -> list[dict[str, Any]]:
    """Profile a step of KT in bf16: the kernels that take most of the time."""
    from torch.profiler import ProfilerActivity, profile

    on_gpu = device.type == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with steps_of(CASES[2 if tiny else 0], device, tiny) as step:
        for _ in range(0 if tiny else 3):
            step()
        with profile(activities=kinds) as found:
            began = time.perf_counter()
            step()
            if on_gpu:
                torch.cuda.synchronize()
            wall_ms = 1e3 * (time.perf_counter() - began)

    def own_ms(event: Any) -> float:  # named otherwise in older versions of torch
        name = "self_device_time_total" if on_gpu else "self_cpu_time_total"
        return float(getattr(event, name, getattr(event, "self_cuda_time_total", 0.0))) / 1e3

    events = sorted(found.key_averages(), key=own_ms, reverse=True)
    if on_gpu:  # operations of torch repeat the time of the kernels that they start
        events = [event for event in events if "CUDA" in str(event.device_type)]
    total = sum(map(own_ms, events))
    rows = [
        {"kernel": event.key, "ms": own_ms(event), "calls": event.count} for event in events[:20]
    ]
    return [{"kernel": "all, of a step of", "ms": total, "wall_ms": wall_ms, "calls": 1}, *rows]
