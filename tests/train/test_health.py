import pytest
import torch

from tmkt.networks import SpikingNetwork
from tmkt.recipe import NetworkRecipe
from tmkt.train.health import count_spikes, first_layer_with_nan, gradients_finite, warnings


@pytest.fixture
def net() -> SpikingNetwork:
    torch.manual_seed(0)
    return SpikingNetwork(
        NetworkRecipe(channels=[4, 8], strides=[1, 2], pools=[1, 1]), (2, 8, 8), 3
    )


EVENTS = (torch.rand(3, 2, 2, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.3).float()


def test_spikes_are_counted_layer_by_layer(net: SpikingNetwork) -> None:
    seen: list[torch.Tensor] = []
    net.blocks[1].neuron.register_forward_hook(
        lambda _module, _inputs, spikes: seen.append(spikes.detach())
    )
    with count_spikes(net) as spikes:
        net(EVENTS)
        net(1 - EVENTS)
    net(EVENTS)  # not counted any more
    assert set(spikes.rates()) == {"conv1", "conv2"}
    assert spikes.rates()["conv2"] == pytest.approx(float(torch.stack(seen[:2]).mean()))


def test_silent_and_saturated_layers_are_named() -> None:
    silent, saturated = warnings({"conv1": 0.0, "conv2": 0.1, "conv3": 0.9})
    assert silent.startswith("conv1 is silent")
    assert saturated.startswith("conv3 is saturated (90 %")


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        ("blocks.1.conv.weight", "the weights of blocks.1.conv.weight"),
        ("head.bias", "the weights of head.bias"),
    ],
)
def test_weights_that_are_no_numbers_are_found(
    net: SpikingNetwork, broken: str, found: str
) -> None:
    net.get_parameter(broken).data.view(-1)[0] = float("nan")
    assert first_layer_with_nan(net, EVENTS) == found


def test_an_output_that_is_no_number_is_found(net: SpikingNetwork) -> None:
    net.blocks[0].conv.weight.data.fill_(1e38)
    assert first_layer_with_nan(net, EVENTS) == "the output of blocks.0.conv"


def test_a_gradient_that_is_no_number_is_noticed_and_found(net: SpikingNetwork) -> None:
    net(EVENTS).logits.sum().backward()
    assert gradients_finite(net)
    net.blocks[0].bn.weight.grad[1] = float("inf")
    assert not gradients_finite(net)
    assert first_layer_with_nan(net, EVENTS) == "the gradient of blocks.0.bn.weight"
