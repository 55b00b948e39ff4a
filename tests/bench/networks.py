"""The benchmarks' networks: each as a float network in SpikingJelly and as the integer program that
our exporter makes of it.

The N-MNIST network has the weights of a training; VGGSNN is untrained, every layer's batch norm
shifted until the layer spikes at a given rate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from tmkt.datasets.nmnist import SENSOR, find_recordings
from tmkt.datasets.reading import load_frames
from tmkt.events.frames import InputContract
from tmkt.export.quantise.quantise import quantise
from tmkt.export.targets.onnx import write_onnx
from tmkt.networks import SpikingNetwork
from tmkt.nir.from_network import network_to_nir
from tmkt.program.arithmetic import DECAY_ONE
from tmkt.program.model import Program
from tmkt.recipe import NetworkRecipe, load_recipe
from tmkt.train import RECIPES

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "nmnist"
TRAINED = Path(__file__).with_name(
    "nmnist.safetensors"
)  # model.safetensors of: tmkt train nmnist-fewshot, seed 0
NMNIST_DENSITY = 0.08  # of N-MNIST's frames (measured)
# Knowledge Transfer's VGGSNN (arXiv 2303.13077, model_zoo/vgg_snn.py) at 48x48, T = 10, 101
# classes.
VGGSNN = NetworkRecipe(
    channels=[64, 128, 256, 256, 512, 512, 512, 512],
    strides=[1] * 8,
    pools=[1, 2, 1, 2, 1, 2, 1, 2],
    tau=2.0,
    threshold=0.5,
)
VGGSNN_SHAPE, VGGSNN_STEPS, VGGSNN_CLASSES = (2, 48, 48), 10, 101


@dataclass(frozen=True)
class Contest:
    """A network on both sides, and the frames uint8 [N, T, 2, H, W] that both run."""

    net: SpikingNetwork
    graph: Any
    program: Program
    frames: NDArray[np.uint8]

    @property
    def input(self) -> torch.Tensor:
        """The frames as SpikingJelly takes them: float32 [T, N, 2, H, W]."""
        return torch.from_numpy(self.frames).float().transpose(0, 1).contiguous()


def nmnist_frames(samples: int) -> NDArray[np.uint8]:
    """Real recordings as the N-MNIST recipe's frames, or random ones as dense where there are no
    recordings.
    """
    data = load_recipe("nmnist-fewshot", RECIPES).data
    contract = InputContract(SENSOR, data.bins, data.bin_us, data.max_count)
    if not DATA.is_dir():
        return random_frames((samples, contract.bins, *contract.shape), NMNIST_DENSITY)
    return load_frames(find_recordings(DATA)[:samples], contract)[0]


def nmnist_network() -> SpikingNetwork:
    """Return the N-MNIST recipe's network, untrained, always with the same weights."""
    torch.manual_seed(0)
    return SpikingNetwork(load_recipe("nmnist-fewshot", RECIPES).network, (2, *SENSOR), 10)


def nmnist(samples: int) -> Contest:
    """Return the N-MNIST recipe's trained network and real recordings."""
    net = nmnist_network()
    net.load_state_dict(load_file(TRAINED))
    return _contest(net, nmnist_frames(samples))


def vggsnn(samples: int, rate: float) -> Contest:
    """VGGSNN whose input and layers all spike at `rate` a neuron and step."""
    frames = random_frames((samples, VGGSNN_STEPS, *VGGSNN_SHAPE), rate)
    torch.manual_seed(0)
    net = SpikingNetwork(VGGSNN, VGGSNN_SHAPE, VGGSNN_CLASSES)
    _set_rates(net, frames, [rate] * len(VGGSNN.channels))
    return _contest(net, frames)


def random_frames(shape: tuple[int, ...], density: float) -> NDArray[np.uint8]:
    """Binary frames with that share of ones."""
    return (np.random.default_rng(0).random(shape, np.float32) < density).astype(np.uint8)


def _contest(net: SpikingNetwork, frames: NDArray[np.uint8]) -> Contest:
    graph = network_to_nir(net.eval())
    program, _ = quantise(graph, net.input_shape, 1, frames[:2])
    return Contest(net, graph, program, frames)


@torch.no_grad()
def _set_rates(net: SpikingNetwork, frames: NDArray[np.uint8], rates: Sequence[float]) -> None:
    x = torch.from_numpy(frames[:4]).float().transpose(0, 1)
    for block, rate in zip(net.blocks, rates, strict=True):
        steps, samples = x.shape[:2]
        y = block.conv(x.flatten(0, 1))
        var, mean = torch.var_mean(y, (0, 2, 3))
        block.bn.running_mean.copy_(mean)
        block.bn.running_var.copy_(var + 1e-3)  # a silent channel keeps finite weights
        block.eval()
        y = block.bn(y).unflatten(0, (steps, samples))
        low, high = -8.0, 8.0
        for _ in range(14):
            shift = (low + high) / 2
            block.neuron.reset()
            low, high = (low, shift) if block.neuron(y + shift).mean() > rate else (shift, high)
        block.bn.bias.fill_(shift)
        functional.reset_net(block)
        x = block(x)


@torch.no_grad()
def sequential(net: SpikingNetwork, folded: bool) -> nn.Sequential:
    """The network in SpikingJelly's own layers, multi-step: float [T, N, 2, H, W] to logits [T, N,
    classes].

    `folded`: batch norm goes into the convolution, which spares SpikingJelly the work; else as a
    user has the network after training.
    """
    modules: list[nn.Module] = []
    for block in net.blocks:
        old = block.conv
        conv = layer.Conv2d(
            old.in_channels, old.out_channels, 3, stride=old.stride, padding=1, bias=folded
        )
        gain = block.bn.weight / torch.sqrt(block.bn.running_var + block.bn.eps)
        conv.weight.copy_(old.weight * gain.view(-1, 1, 1, 1) if folded else old.weight)
        modules.append(conv)
        if folded:
            conv.bias.copy_(block.bn.bias - block.bn.running_mean * gain)
        else:
            norm = layer.BatchNorm2d(old.out_channels)
            norm.load_state_dict(block.bn.state_dict())
            modules.append(norm)
        old = block.neuron
        lif = neuron.LIFNode(
            old.tau, True, old.v_threshold, 0.0, old.surrogate_function, detach_reset=True
        )
        modules.append(lif)
        if block.pool > 1:
            modules.append(layer.AvgPool2d(block.pool))
    head = layer.Linear(net.features, net.head.out_features)
    head.load_state_dict(net.head.state_dict())
    model = nn.Sequential(*modules, layer.Flatten(), head)
    functional.set_step_mode(model, "m")
    return model


def eager(net: SpikingNetwork, folded: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """Inference in SpikingJelly: the sum of `sequential`'s logits over time [N, classes]."""
    model = sequential(net, folded).eval()

    @torch.no_grad()
    def run(x: torch.Tensor) -> torch.Tensor:
        functional.reset_net(model)
        logits: torch.Tensor = model(x).sum(0)
        return logits

    return run


def onnx_runtime(contest: Contest, folder: Path, threads: int) -> Callable[[], list[NDArray[Any]]]:
    """Return a function that runs the program in ONNX Runtime on that many threads, all samples as
    one batch.
    """
    import onnxruntime

    path = folder / "network.onnx"
    write_onnx(contest.program, path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads, options.inter_op_num_threads = (
        3,
        threads,
        1,
    )
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {"x": np.ascontiguousarray(contest.frames.swapaxes(0, 1))}
    for one in contest.program.layers:
        states = ["v"] + ["u"] * (one.current_decay != DECAY_ONE)
        feed |= {
            f"{one.name}.{state}": np.zeros((len(contest.frames), *one.shape), np.int32)
            for state in states
        }
    outputs = ["readout", *(f"{one.name}.spikes" for one in contest.program.layers if one.fires)]

    def run() -> list[NDArray[Any]]:
        found: list[NDArray[Any]] = session.run(outputs, feed)
        return found

    return run
