import torch
from torch import nn

from tmkt.train.averaging import average_of, update_average


def _net(value: float) -> nn.Module:
    net = nn.BatchNorm1d(1)
    nn.init.constant_(net.weight, value)
    net.running_mean.fill_(value)
    return net


def test_the_average_follows_weights_and_running_statistics() -> None:
    net = _net(0.0)
    averaged = average_of(net)
    expected = 0.0
    for step in range(1, 100):
        with torch.no_grad():
            net.weight.fill_(step)
            net.running_mean.fill_(step)
            net.num_batches_tracked.fill_(step)
        update_average(averaged, net, 0.9, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    torch.testing.assert_close(averaged.weight, torch.tensor([expected]))
    torch.testing.assert_close(averaged.running_mean, torch.tensor([expected]))
    assert averaged.num_batches_tracked == 99
    assert net.weight == 99, "the network itself trains on as it was"


def test_an_untrained_start_is_soon_forgotten() -> None:
    net = _net(1.0)
    averaged = average_of(_net(1000.0))
    for step in range(1, 100):
        update_average(averaged, net, 0.999, step)
    assert averaged.weight < 1.01


def test_the_average_is_never_trained() -> None:
    averaged = average_of(_net(0.0))
    assert not averaged.training
    assert not any(parameter.requires_grad for parameter in averaged.parameters())
