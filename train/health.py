"""Whether a network that trains is well: spike rates of its layers, and numbers that are none."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tmkt.networks import SpikingNetwork

SILENT, SATURATED = (
    0.001,
    0.6,
    # spikes per neuron and step; ours: trained layers lie between 0.05 and 0.25 (measured on N-MNIST)
)


class SpikeRates:
    """Spikes per neuron and step of each spiking layer, over all forward passes that it saw."""

    def __init__(self, net: SpikingNetwork) -> None:
        self.spikes = dict.fromkeys(net.spiking_layers(), 0.0)
        self.neurons = dict.fromkeys(self.spikes, 0)

    def add(self, name: str, spikes: Tensor) -> None:
        """Counts one layer's spikes of one pass."""
        self.spikes[name] += float(spikes.detach().sum(dtype=torch.float64))
        self.neurons[name] += spikes.numel()

    def rates(self) -> dict[str, float]:
        """By layer."""
        return {
            name: self.spikes[name] / neurons for name, neurons in self.neurons.items() if neurons
        }


@contextmanager
def counted_spikes(net: SpikingNetwork) -> Iterator[SpikeRates]:
    """Counts the spikes of all forward passes in this context."""
    found = SpikeRates(net)

    def counter(name: str) -> Callable[[Any, Any, Tensor], None]:
        return lambda _module, _input, spikes: found.add(name, spikes)

    hooks = [
        layer.register_forward_hook(counter(name)) for name, layer in net.spiking_layers().items()
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def warnings(rates: dict[str, float]) -> list[str]:
    """A line for each layer that hardly ever spikes or nearly always does: neither passes on what
    it sees.
    """
    lines = []
    for name, rate in rates.items():
        if rate < SILENT:
            lines.append(
                f"{name} is silent ({100 * rate:.2g} % of neurons and steps spike): lower"
                " network.threshold or train.learning_rate"
            )
        elif rate > SATURATED:
            lines.append(
                f"{name} is saturated ({100 * rate:.0f} % of neurons and steps spike): raise"
                " network.threshold or lower train.learning_rate"
            )
    return lines


def gradients_finite(module: nn.Module) -> bool:
    """Whether all gradients are numbers."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    norms = torch._foreach_norm(gradients) if gradients else []
    return bool(torch.stack([norm.float() for norm in norms]).isfinite().all()) if norms else True


@torch.no_grad()
def first_bad_layer(net: SpikingNetwork, events: Tensor) -> str:
    """Where numbers stop being numbers: the first layer, in the order of a forward pass on
    `events`, whose weights, output or gradients have any.

    Spiking layers hide them: a membrane that is no number never spikes.
    """
    found: list[str] = []

    def check(name: str) -> Callable[[Any, Any, Any], None]:
        def hook(_module: nn.Module, inputs: Any, output: Any) -> None:
            if (
                not found
                and isinstance(output, Tensor)
                and not output.isfinite().all()
                and all(one.isfinite().all() for one in inputs)
            ):
                found.append(f"the output of {name}")

        return hook

    for name, parameter in net.named_parameters():
        if not parameter.isfinite().all():
            return f"the weights of {name}"
    modules = {name: module for name, module in net.named_modules() if not any(module.children())}
    hooks = [module.register_forward_hook(check(name)) for name, module in modules.items()]
    net.eval()(events)
    for hook in hooks:
        hook.remove()
    if found:
        return found[0]
    bad = [
        name
        for name, parameter in net.named_parameters()
        if parameter.grad is not None and not parameter.grad.isfinite().all()
    ]
    return f"the gradient of {bad[-1]}" if bad else "the loss"
