"""Checks of a GPU: what it computes against the CPU, layer by layer and method by method."""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_data import papers_recipe, random_data, small_recipe
from spikingjelly.activation_based import functional, neuron
from torch import Tensor
from torch.nn import functional as F

import tmkt
from tmkt.bundle import load
from tmkt.deploy.engines.registry import open_engine
from tmkt.networks import SpikingNetwork
from tmkt.networks.gpu.choice import fused_on_gpu
from tmkt.networks.lif import LIF, SURROGATES
from tmkt.networks.norm import BatchNorm
from tmkt.recipe import NetworkRecipe, TrainRecipe
from tmkt.train.methods.base import Batch, Setting
from tmkt.train.methods.registry import METHODS
from tmkt.train.qat.training import qat_recipe
from tmkt.train.runtime import computing
from tmkt.train.samples import draw_samples
from tmkt.train.trainer import train

CPU = torch.device("cpu")
# The most that rounding does, by far: a convolution's last bits turn one spike in 30,000, which
# changes what flows on and back. Whatever computes something else is apart by 1 or so.
MOST_SPIKES, MOST_OUTPUT, MOST_LOSS = 3e-4, 0.05, 0.01
Found = Iterator[tuple[str, bool, str]]
PAPERS = ("ncaltech101-kt", "cepdvs-kt", "nomniglot-kt")


def precisions(device: torch.device) -> Found:
    """Compare a convolution and a product with float64: TF32 where the recipe says so alone."""
    torch.manual_seed(0)
    x, weight = torch.randn(8, 64, 16, 16, device=device), torch.randn(64, 64, 3, 3, device=device)
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    product = x.flatten(1)[:, :4096].double() @ x.flatten(1)[:, :4096].double().T
    for precision in ("fp32", "tf32"):
        recipe = TrainRecipe(steps=1, threads=torch.get_num_threads(), precision=precision)
        with computing(recipe, device):
            away = _apart(exact, F.conv2d(x, weight, padding=1).double())
            rows = x.flatten(1)[:, :4096]
            off = _apart(product, (rows @ rows.T).double())
        can = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        short = can and precision == "tf32"
        passed = (1e-5 < away < 1e-2 if short else away < 1e-5) and off < 1e-5
        said = f"convolution apart by {away:.1e}, product by {off:.1e}"
        yield f"precision {precision}", passed, said


def neurons(device: torch.device) -> Found:
    """Compare batch norm and LIF with the CPU's, and with SpikingJelly's behind torch's."""
    if device.type == "cuda":
        yield "Triton runs batch norm and LIF", fused_on_gpu() is not None, ""
    torch.manual_seed(0)
    x, pull = torch.randn(2, 10, 4, 32, 9, 9).unbind(0)
    for surrogate, kind in itertools.product(SURROGATES, ("none", "whole", "per-step")):
        recipe = NetworkRecipe(name="vggsnn", surrogate=surrogate)
        found = [_neuron(recipe, kind, x, pull, one) for one in (CPU, device)]
        passed, said = _compared(*found)
        yield f"neuron {surrogate}, batch norm {kind}: as the CPU's", passed, said
        plain = _plain_neuron(recipe, kind, x, pull, device)
        passed, said = _compared(plain, found[1])
        yield f"neuron {surrogate}, batch norm {kind}: as SpikingJelly's", passed, said


def _norm(kind: str, device: torch.device) -> BatchNorm | None:
    if kind == "none":
        return None
    norm = BatchNorm(32).to(device)
    norm.per_step = kind == "per-step"
    return norm


def _neuron(
    recipe: NetworkRecipe, kind: str, x: Tensor, pull: Tensor, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Give spikes and gradients, one after the other."""
    lif, norm = LIF(recipe, store_v_seq=True).to(device), _norm(kind, device)
    leaf = x.to(device, copy=True).requires_grad_()
    spikes = lif(leaf, norm)
    pull = pull.to(device)
    ((spikes * pull).sum() + (lif.v_seq * pull.roll(1, 0)).sum()).backward()
    return spikes.detach(), _flat([leaf, *(norm.parameters() if norm else [])])


def _plain_neuron(
    recipe: NetworkRecipe, kind: str, x: Tensor, pull: Tensor, device: torch.device
) -> tuple[Tensor, Tensor]:
    lif, norm = LIF(recipe, store_v_seq=True).to(device), _norm(kind, device)
    leaf = x.to(device, copy=True).requires_grad_()
    functional.reset_net(lif)
    spikes = neuron.LIFNode.forward(lif, leaf if norm is None else norm.over_time(leaf))
    pull = pull.to(device)
    ((spikes * pull).sum() + (lif.v_seq * pull.roll(1, 0)).sum()).backward()
    return spikes.detach(), _flat([leaf, *(norm.parameters() if norm else [])])


def _flat(leaves: Any) -> Tensor:
    return torch.cat([leaf.grad.flatten() for leaf in leaves if leaf.grad is not None])


def _compared(expected: tuple[Tensor, Tensor], found: tuple[Tensor, Tensor]) -> tuple[bool, str]:
    """Compare an output that may hold spikes, and gradients."""
    (output, gradient), (other, its) = ([one.cpu() for one in pair] for pair in (expected, found))
    away = _apart(gradient, its)
    if bool((output == output.round()).all()):
        turned = float((output != other).float().mean())
        passed = turned <= MOST_SPIKES and away <= 1e-3 + 30.0 * turned**0.5
        return passed, f"{turned:.1e} of the spikes differ, gradients apart by {away:.1e}"
    apart = _apart(output, other)
    passed = apart <= MOST_OUTPUT and away <= 4.0 * MOST_OUTPUT
    return passed, f"outputs apart by {apart:.1e}, gradients by {away:.1e}"


def _apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / a.norm().clamp_min(1e-12))


def layers(device: torch.device, tiny: bool) -> Found:
    """Compare every block of the papers' networks, each fed with what the CPU's had."""
    for name in PAPERS if not tiny else PAPERS[:1] + PAPERS[2:]:
        recipe = papers_recipe(name, tiny, "train.batch=2", "data.bins=2")
        torch.manual_seed(0)
        shape = (2, *recipe.data.sensor)
        nets = [SpikingNetwork(recipe.network, shape, 10) for _ in (CPU, device)]
        nets[1].load_state_dict(nets[0].state_dict())
        nets[1].to(device)
        x = (torch.rand(2, 2, *shape) < 0.2).float()
        for i, blocks in enumerate(zip(*(net.train().blocks for net in nets), strict=True)):
            found = []
            for block, where in zip(blocks, (CPU, device), strict=True):
                leaf = x.to(where, copy=True).requires_grad_()
                output = block(leaf)
                output.backward(torch.cos(torch.arange(output.numel())).view_as(output).to(where))
                found.append((output.detach(), _flat([leaf, *block.parameters()])))
            passed, said = _compared(*found)
            yield f"{name}, block {i + 1}", passed, said
            x = found[0][0]


def methods(device: torch.device) -> Found:
    """Compare one step of every method, from the same weights, batch and draws."""
    for name in METHODS:
        with tempfile.TemporaryDirectory() as folder:
            expected, found = (_losses(name, where, Path(folder)) for where in (CPU, device))
        loss = abs(found[0] / expected[0] - 1.0)
        away = _apart(expected[1], found[1])
        passed = loss <= MOST_LOSS and away <= 4.0 * MOST_OUTPUT
        yield f"method {name}", passed, f"loss apart by {loss:.1e}, gradients by {away:.1e}"


def _losses(name: str, device: torch.device, folder: Path) -> tuple[float, Tensor]:
    recipe = small_recipe(name)
    data = random_data(recipe, 4, 16)
    torch.manual_seed(0)
    net = SpikingNetwork(recipe.network, (2, *data.sensor), len(data.classes)).to(device)
    method = METHODS[name](recipe.method, net, recipe.data.bins).to(device)

    def draw(rng: np.random.Generator, step: int) -> Batch:
        batch = draw_samples(data, recipe, rng, CPU, step).batch(recipe, data.sensor, CPU)
        given = {field.name: getattr(batch, field.name) for field in fields(batch)}
        return Batch(**{key: None if one is None else one.to(device) for key, one in given.items()})

    method.prepare(Setting(draw, folder, 0, b"same", device))
    rng = np.random.default_rng(1)
    batch = method.exchange(draw(rng, 0), rng, 0.4)
    total = method.losses(net.train(), batch, rng, 0.4).total
    total.backward()
    return float(total.detach()), _flat([*net.parameters(), *method.parameters()]).cpu()


def trainings(device: torch.device) -> Found:
    """Train some steps in every precision, and on integers: whole runs come out."""
    with tempfile.TemporaryDirectory() as folder:
        runs = {}
        for precision in ("fp32", "tf32", "bf16"):
            recipe = small_recipe("tmkt", precision=precision)
            data = random_data(recipe, 4, 16)
            said: list[str] = []
            run = train(recipe, data, None, Path(folder) / precision, report=said.append)
            runs[precision] = run
            passed = run.info["test"]["samples"] == 4
            if device.type == "cuda":
                passed &= f"train.precision = {precision}" in said[0]
            yield f"training in {precision}", passed, said[0]
        start = runs["fp32"]
        run = train(
            qat_recipe(start, "4", ["train.steps=2"]),
            random_data(start.recipe, 4, 16),
            None,
            Path(folder) / "qat",
            start=start,
        )
        yield "training on integers", run.info["test"]["samples"] == 4, ""


def loader(device: torch.device, tiny: bool) -> Found:
    """Compare the batch that the device computes with the CPU's: recordings, stills, simulated."""
    recipe = papers_recipe("ncaltech101-tmkt", tiny)
    batches: list[Batch] = []
    for encoding in ("grey", "simulated"):
        static = recipe.static.model_copy(update={"encoding": encoding})
        one = recipe.model_copy(update={"static": static})
        data = random_data(one, 10, 20)
        batches = [
            draw_samples(data, one, np.random.default_rng(0), where).batch(one, data.sensor, where)
            for where in (CPU, device)
        ]
        cpu, gpu = ([b.events.cpu(), b.static.cpu()] for b in batches)
        # a place between two pixels may be rounded to the other one
        apart = float((cpu[0] != gpu[0]).float().mean())
        yield f"recordings beside {encoding} images", apart < 1e-3, f"{apart:.1e} differ"
        if encoding == "grey":
            away = float((cpu[1] - gpu[1]).abs().max())
            yield "still images", away < 1e-3, f"apart by {away:.1e} at most"
        else:
            share = float(gpu[1].mean() / cpu[1].mean())
            yield "simulated images", abs(share - 1.0) < 0.05, f"{share:.3f} times the CPU's events"


def engine(device: torch.device) -> Found:
    """Run the shipped integer program by the engine `torch` and by the simulator."""
    folder = Path(tmkt.__file__).parent / "quick" / "bundle"
    bundle = load(folder)
    rng = np.random.default_rng(0)
    contract = bundle.contract
    frames = (rng.random((64, contract.bins, *contract.shape)) < 0.1).astype(np.uint8)
    simulator, found = (open_engine(name, bundle).run(frames) for name in ("simulator", "torch"))
    differ = int((simulator.readout != found.readout).sum())
    for name, spikes in simulator.spikes.items():
        differ += int((spikes != found.spikes[name]).sum())
    fired = sum(int(spikes.sum()) for spikes in simulator.spikes.values())
    said = f"{differ} of {fired} spikes and the read-outs differ"
    yield f"engine torch on {device}", differ == 0 and fired > 0, said


def every(device: torch.device, tiny: bool) -> list[tuple[str, Callable[[], Found]]]:
    """List all groups of checks by name, the most telling first."""
    return [
        ("precisions", lambda: precisions(device)),
        ("neurons", lambda: neurons(device)),
        ("layers", lambda: layers(device, tiny)),
        ("engine", lambda: engine(device)),
        ("methods", lambda: methods(device)),
        ("loader", lambda: loader(device, tiny)),
        ("trainings", lambda: trainings(device)),
    ]
