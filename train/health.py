"""Health of a network in training: spike rates of its layers, NaN and Inf."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tmkt.console import significant
from tmkt.networks import SpikingNetwork
from tmkt.program.health import SATURATED, SILENT


class SpikeRates:
    """Spikes per neuron and step of each spiking layer, over all forward passes seen."""

    def __init__(self, net: SpikingNetwork) -> None:
        self.spikes = dict.fromkeys(net.spiking_layers(), 0.0)
        self.neurons = dict.fromkeys(self.spikes, 0)

    def add(self, name: str, spikes: Tensor) -> None:
        """Count one layer's spikes of one pass."""
        # Exact in float32, since no sample has 2^24 neurons in a layer; a sum in float64 would copy
        # all spikes first and take 16 times as long.
        samples = spikes.detach().float().sum(tuple(range(2, spikes.dim())))
        self.spikes[name] += float(samples.sum(dtype=torch.float64))
        self.neurons[name] += spikes.numel()

    def rates(self) -> dict[str, float]:
        """Give the rate of each layer."""
        return {
            name: self.spikes[name] / neurons for name, neurons in self.neurons.items() if neurons
        }


@contextmanager
def count_spikes(net: SpikingNetwork) -> Iterator[SpikeRates]:
    """Count the spikes of all forward passes in this context."""
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
    """Write a warning for each layer that hardly ever spikes or nearly always does.

    Neither passes its input on.
    """
    lines = []
    for name, rate in rates.items():
        if rate < SILENT:
            lines.append(
                f"{name} is silent ({significant(100 * rate, 2)} % of neurons and steps spike):"
                " lower network.threshold or train.learning_rate"
            )
        elif rate > SATURATED:
            lines.append(
                f"{name} is saturated ({100 * rate:.0f} % of neurons and steps spike): raise"
                " network.threshold or lower train.learning_rate"
            )
    return lines


def gradients_finite(*modules: nn.Module) -> Tensor:
    """Tell whether no gradient of the modules is NaN or Inf, as bool [].

    It stays on their device: to read it would wait for the backward pass.
    """
    parameters = [parameter for module in modules for parameter in module.parameters()]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = [norm.float() for norm in torch._foreach_norm(gradients)] if gradients else []
    return torch.stack(norms).isfinite().all() if norms else torch.tensor(True)


@torch.no_grad()
def first_layer_with_nan(net: SpikingNetwork, frames: Tensor) -> str:
    """Find the first layer with NaN or Inf in its weights, output or gradients.

    First in the order of a forward pass on `frames`. The output of the network would not show it: a
    membrane that is NaN never spikes.
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
    net.eval()(frames)
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
