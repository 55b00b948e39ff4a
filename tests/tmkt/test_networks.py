import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, neuron
from torch import nn

from tmkt.errors import InputError
from tmkt.networks import SpikingNetwork
from tmkt.networks.backbone import average_pool, convolve
from tmkt.networks.lif import LIF, SURROGATES
from tmkt.networks.norm import BatchNorm
from tmkt.recipe import NetworkRecipe, parse_recipe


def _recipe(**values: object) -> NetworkRecipe:
    return NetworkRecipe.model_validate({"name": "vggsnn", **values})


def _spikingjelly(lif: LIF) -> neuron.LIFNode:
    return neuron.LIFNode(
        lif.tau,
        True,
        lif.v_threshold,
        0.0,
        lif.surrogate_function,
        detach_reset=True,
        step_mode="m",
        store_v_seq=True,
    )


def _parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_vggsnn_has_the_parameters_of_the_published_log() -> None:
    net = SpikingNetwork(_recipe(), (2, 48, 48), 101)
    second_head, step_coefficients, thresholds_and_alphas = (
        _parameters(net.head),
        10,
        2 * len(net.spiking_layers()),
    )
    assert _parameters(net) + second_head + step_coefficients + thresholds_and_alphas == 10_153_700


@pytest.mark.parametrize(
    ("name", "shape", "classes", "parameters", "layers", "features", "membrane"),
    [
        # Counted by hand from the layers that methods.md 3.4 names.
        ("resnet18", (2, 48, 48), 20, 11_177_620, 19, (512,), (512,)),
        ("sew-resnet18", (2, 48, 48), 20, 11_178_516, 20, (512,), (512, 6, 6)),
        ("scnn", (2, 28, 28), 1623, 696_573, 3, (300,), (300,)),
    ],
)
def test_networks_of_the_papers_have_their_layers(
    name: str,
    shape: tuple[int, int, int],
    classes: int,
    parameters: int,
    layers: int,
    features: tuple[int, ...],
    membrane: tuple[int, ...],
) -> None:
    net = SpikingNetwork(_recipe(name=name), shape, classes)
    assert _parameters(net) == parameters
    assert len(net.spiking_layers()) == layers
    output = net((torch.rand(2, 3, *shape) < 0.2).float())
    assert output.logits.shape == (2, 3, classes)
    assert output.features.shape == (2, 3, *features)
    assert output.membrane.shape == (2, 3, *membrane)
    output.logits.sum().backward()
    assert all(
        parameter.grad is not None and parameter.grad.isfinite().all()
        for parameter in net.parameters()
    )


@pytest.mark.parametrize("pattern", ["normal", "on the threshold"])
@pytest.mark.parametrize("tau", [2.0, 3.0])
def test_spikes_and_membranes_are_spikingjellys_bit_for_bit(tau: float, pattern: str) -> None:
    torch.manual_seed(0)
    x = (
        torch.randn(12, 2, 5, 7, 9)
        if pattern == "normal"
        else torch.randint(-4, 9, (12, 2, 5, 7, 9)) * 0.25
    )
    lif = LIF(_recipe(tau=tau), store_v_seq=True)
    other = _spikingjelly(lif)
    spikes, expected = lif(x), other(x)
    assert 0.02 < spikes.mean() < 0.9
    assert torch.equal(spikes, expected)
    assert torch.equal(lif.v_seq, other.v_seq)
    assert torch.equal(lif(x), spikes), "every call starts anew"


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_batch_norm_and_spikingjelly(surrogate: str, training: bool) -> None:
    torch.manual_seed(1)
    lif = LIF(_recipe(surrogate=surrogate, tau=1.7, threshold=0.8), store_v_seq=True)
    other = _spikingjelly(lif)
    ours, theirs = BatchNorm(6), nn.BatchNorm2d(6)
    for norm in (ours, theirs):
        norm.weight.data.copy_(torch.linspace(0.5, 2, 6))
        norm.bias.data.copy_(torch.linspace(-0.3, 1, 6))
        norm.running_mean.fill_(0.3)
        norm.train(training)
    start = torch.randn(7, 3, 6, 5, 4) + 0.5
    pull_spikes, pull_membrane = torch.randn(start.shape), torch.randn(start.shape)
    found = []
    for run, norm in (
        (lambda x: lif(x, ours), ours),
        (lambda x: other(theirs(x.flatten(0, 1)).unflatten(0, x.shape[:2])), theirs),
    ):
        x = start.clone().requires_grad_()
        functional.reset_net(other)
        spikes = run(x)
        membrane = lif.v_seq if norm is ours else other.v_seq
        ((spikes * pull_spikes).sum() + (membrane * pull_membrane).sum()).backward()
        found.append(
            (
                spikes.detach(),
                x.grad,
                norm.weight.grad,
                norm.bias.grad,
                norm.running_mean,
                norm.running_var,
                norm.num_batches_tracked,
            )
        )
    assert torch.equal(found[0][0], found[1][0])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=2e-4, atol=2e-4)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 700),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 10),
)
def test_any_shape_and_number_of_threads_gives_the_same_spikes(
    steps: int, batch: int, channels: int, height: int, threads: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(0.5, 1, (steps, batch, channels, height, 2)).astype(np.float32))
    lif = LIF(_recipe())
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        spikes = lif(x)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(spikes, _spikingjelly(lif)(x))


@pytest.mark.parametrize(("height", "width", "size"), [(8, 8, 2), (7, 9, 2), (5, 6, 3)])
def test_average_pooling_is_torchs(height: int, width: int, size: int) -> None:
    x = torch.randn(3, 2, 4, height, width)
    found = []
    for pool in (
        average_pool,
        lambda x, size: nn.functional.avg_pool2d(x.flatten(0, 1), size).unflatten(0, x.shape[:2]),
    ):
        one = x.clone().requires_grad_()
        y = pool(one, size)
        (y * torch.linspace(0, 1, y.numel()).view_as(y)).sum().backward()
        found.append((y.detach(), one.grad))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1])


def test_the_statistics_of_a_stream_can_be_left_out() -> None:
    norm, lif = BatchNorm(3), LIF(_recipe())
    norm.track_running_stats = False
    lif(torch.randn(4, 2, 3, 5, 5), norm)
    assert torch.equal(norm.running_mean, torch.zeros(3))
    assert norm.num_batches_tracked == 0


@pytest.mark.parametrize(
    ("network", "complaint"),
    [
        ({"name": "vggsnn", "channels": [8]}, "vggsnn is fixed, leave them out"),
        ({"name": "small", "channels": [8]}, "a small network needs equally many"),
        ({"name": "sew-resnet18", "channels": [8, 8]}, "has four stages"),
    ],
)
def test_a_recipe_that_does_not_fit_the_family_is_refused(
    network: dict[str, object], complaint: str
) -> None:
    values = {
        "data": {"name": "digits", "shots": 1, "bin_us": 1000},
        "network": network,
        "method": {"name": "tmkt"},
        "train": {"steps": 1},
    }
    with pytest.raises(InputError, match=complaint):
        parse_recipe(values, "test")


def test_an_input_that_shrinks_to_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"leave nothing of a \(12, 12\) input"):
        SpikingNetwork(_recipe(), (2, 12, 12), 10)


def test_computing_activations_again_changes_nothing_but_memory() -> None:
    x = (torch.rand(3, 2, 2, 16, 16) < 0.2).float()
    found = []
    for recompute in (False, True):
        torch.manual_seed(0)
        net = SpikingNetwork(
            NetworkRecipe(channels=[4, 8, 8], strides=[1, 1, 1], pools=[2, 1, 2]), (2, 16, 16), 3
        )
        net.recompute = recompute
        output = net(x)
        (output.logits.square().sum() + output.membrane.sum()).backward()
        found.append(
            [
                *(parameter.grad for parameter in net.parameters()),
                *(buffer.clone() for buffer in net.buffers()),
            ]
        )
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_a_strided_1x1_convolution_of_few_channels_trains() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 5, 1, stride=2, bias=False)
    x = torch.randn(10, 24, 4, 34, 34, requires_grad=True)
    y = convolve(conv, x)
    torch.testing.assert_close(
        y, torch.einsum("tbchw,oc->tbohw", x[..., ::2, ::2], conv.weight[:, :, 0, 0])
    )
    for _ in range(5):  # oneDNN's own backward pass would end the process
        convolve(conv, x).sum().backward()


def test_batch_norm_without_running_statistics_normalises_by_its_batch_in_evaluation_too() -> None:
    norm = BatchNorm(3).eval()
    norm.track_running_stats = False
    x = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 5.0 + 2.0
    y = norm(x)
    torch.testing.assert_close(y, BatchNorm(3).train()(x))
    assert torch.equal(norm.running_mean, torch.zeros(3))


@pytest.mark.parametrize("name", ["small", "resnet18", "sew-resnet18"])
def test_per_step_batch_norm_is_torchs_one_step_after_the_other(name: str) -> None:
    """Knowledge Transfer's code does so: it calls every layer once a time step."""
    small = {"channels": [4, 6], "strides": [1, 2], "pools": [1, 1]} if name == "small" else {}
    torch.manual_seed(0)
    net = SpikingNetwork(_recipe(name=name, norm="per-step", **small), (2, 16, 16), 3)
    norm = next(module for module in net.modules() if isinstance(module, BatchNorm))
    theirs = nn.BatchNorm2d(norm.num_features)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    norm.register_forward_hook(lambda _module, args, y: seen.append((args[0], y)))
    net.train()(torch.rand(5, 4, 2, 16, 16))
    assert len(seen) == 5
    for x, y in seen:
        assert x.shape[0] == 4
        torch.testing.assert_close(y, theirs(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_mean, theirs.running_mean)
    torch.testing.assert_close(norm.running_var, theirs.running_var)
    assert int(norm.num_batches_tracked or 0) == 5
    # Deployed, it is the batch norm that every export folds into the weights.
    whole = SpikingNetwork(_recipe(name=name, **small), (2, 16, 16), 3)
    whole.load_state_dict(net.state_dict())
    frames = torch.rand(5, 2, 2, 16, 16)
    torch.testing.assert_close(net.eval()(frames).logits, whole.eval()(frames).logits)


@pytest.mark.parametrize("name", ["resnet18", "scnn"])
def test_bfloat16_leaves_batch_norm_membranes_and_logits_in_float32(name: str) -> None:
    net = SpikingNetwork(_recipe(name=name), (2, 28, 28), 3)
    normalised: list[torch.Tensor] = []
    for module in net.modules():
        if isinstance(module, BatchNorm):
            module.register_forward_hook(lambda _m, _i, out: normalised.append(out))
    with torch.autocast("cpu", torch.bfloat16):
        output = net(torch.ones(1, 2, 2, 28, 28))
    assert {out.dtype for out in (*normalised, output.logits, output.membrane)} == {torch.float32}
