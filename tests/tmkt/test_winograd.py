import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from tmkt.networks.backbone import convolve
from tmkt.networks.cpu import winograd as module
from tmkt.networks.cpu.winograd import applies, winograd


def _both(x: torch.Tensor, weight: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
    found = []
    for function in (lambda x, w: F.conv2d(x, w, padding=1), winograd):
        inputs = x.clone().requires_grad_(), weight.clone().requires_grad_()
        y = function(*inputs)
        torch.manual_seed(3)
        (y * torch.randn(y.shape)).sum().backward()
        found.append((y.detach(), inputs[0].grad, inputs[1].grad))
    return found


@settings(max_examples=20, deadline=None)
@given(
    images=st.integers(1, 5),
    channels=st.integers(1, 3),
    out=st.integers(1, 3),
    height=st.integers(1, 13),
    width=st.integers(1, 13),
    threads=st.integers(1, 3),
    chunked=st.booleans(),
    by_onednn=st.booleans(),
    seed=st.integers(0, 9),
)
def test_output_and_gradients_are_the_convolutions(
    images: int,
    channels: int,
    out: int,
    height: int,
    width: int,
    threads: int,
    chunked: bool,
    by_onednn: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    x = (torch.rand(images, 8 * channels, height, width) < 0.3).float()
    weight = torch.randn(8 * out, 8 * channels, 3, 3)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    with pytest.MonkeyPatch.context() as patch:
        if chunked:
            patch.setattr(module, "_CHUNK_BYTES", 1)
        patch.setattr(module, "_ONEDNN", by_onednn)
        try:
            direct, fast = _both(x, weight)
        finally:
            torch.set_num_threads(before)
    for expected, found in zip(direct, fast, strict=True):
        torch.testing.assert_close(
            found, expected, rtol=0, atol=3e-5 * max(float(expected.abs().max()), 1.0)
        )


@pytest.mark.parametrize(("by_onednn", "bound"), [(False, 1e-5), (True, 2e-5)])
def test_rounding_stays_small_at_the_width_of_vggsnn(
    monkeypatch: pytest.MonkeyPatch, by_onednn: bool, bound: float
) -> None:
    monkeypatch.setattr(module, "_ONEDNN", by_onednn)
    torch.manual_seed(0)
    x, weight = (torch.rand(4, 512, 12, 12) < 0.15).float(), torch.randn(64, 512, 3, 3)
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    assert (winograd(x, weight) - exact).abs().max() < bound * exact.abs().max()


def test_gradients_that_nobody_needs_are_left_out() -> None:
    x, weight = torch.rand(1, 8, 4, 4), torch.rand(8, 8, 3, 3, requires_grad=True)
    winograd(x, weight).sum().backward()
    assert weight.grad is not None


def test_a_network_is_evaluated_with_the_plain_convolution() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(64, 64, 3, padding=1, bias=False), torch.randn(2, 3, 64, 12, 12)
    trained = convolve(conv, x)
    evaluated = convolve(conv.eval(), x)
    plain = conv(x.flatten(0, 1).contiguous(memory_format=torch.channels_last)).unflatten(0, (2, 3))
    assert torch.equal(evaluated, plain)
    assert not torch.equal(trained, plain), "so training does use the other algorithm"
    torch.testing.assert_close(trained, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(64, 64, 3, padding=1, stride=2, bias=False),
        nn.Conv2d(64, 64, 3, bias=False),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.Conv2d(64, 64, 5, padding=1, bias=False),
        nn.Conv2d(64, 64, 3, padding=1, groups=2, bias=False),
        nn.Conv2d(64, 68, 3, padding=1, bias=False),
        nn.Conv2d(2, 64, 3, padding=1, bias=False),
    ],
)
def test_other_convolutions_are_left_to_torch(conv: nn.Conv2d) -> None:
    assert not applies(conv, torch.rand(1, conv.in_channels, 12, 12))
