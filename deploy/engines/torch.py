"""The torch engine: the integer program on a GPU if torch sees one, else on the CPU.

This is the one module under deploy/ that imports torch. It is exact in floating point: a layer's
sums and all their parts are whole and below 2^23 (`tmkt.program.model.check`), and float32 holds
every integer below 2^24, in whatever order they are added. So a convolution is unfolded into one
matrix product, which no library computes by Winograd or FFT. What follows a sum is int32, as in
Lava and in the simulator. All of this is the same on a GPU and on a CPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tmkt.deploy.engines.types import EngineOutput
from tmkt.program.arithmetic import (
    CURRENT_LIMIT,
    CURRENT_SPAN,
    DECAY_ONE,
    MEMBRANE_LIMIT,
    STATE_SHIFT,
)
from tmkt.program.model import INPUT, Layer, Program, Synapse, conv_shape, pooled

STEPS_AT_ONCE = 16  # a layer runs this many steps before the next one does
VALUES_AT_ONCE = (
    2**24
)  # of a layer's sums, and of an unfolded convolution: the memory stays bounded, whatever is run


class TorchEngine:
    """Runs a program, with recurrent synapses and delays.

    It counts neither faults nor active updates; the simulator does.
    """

    name = "torch"
    exact = True

    def __init__(self, program: Program) -> None:
        self.program = program
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with _whole_products():
            self.dtype = torch.float32 if _float32_is_exact(self.device) else torch.float64
        self._layers = [_Layer(program, layer, self.device, self.dtype) for layer in program.layers]

    def run(self, frames: NDArray[np.uint8]) -> EngineOutput:
        """Run frames uint8 [N, T, C, H, W], each sample from states of zero.

        Raises MemoryError if a GPU has too little left.
        """
        try:
            with torch.no_grad(), _whole_products():
                return self._run(frames)
        except torch.OutOfMemoryError as error:
            raise MemoryError(f"{self.device}: {error}") from error

    def _run(self, frames: NDArray[np.uint8]) -> EngineOutput:
        samples, steps = frames.shape[:2]
        program, last = self.program, self.program.layers[-1]
        spikes = {
            layer.name: np.zeros((samples, steps, *layer.shape), np.uint8)
            for layer in program.layers
            if layer.fires
        }
        membrane = np.zeros((samples, last.neurons), np.int64)
        largest = max(
            int(np.prod(program.input_shape)), *(layer.neurons for layer in program.layers)
        )
        batch = max(1, VALUES_AT_ONCE // (largest * min(steps, STEPS_AT_ONCE) or 1))
        for begin in range(0, samples, batch):
            part = slice(begin, begin + batch)
            states = [layer.start(len(frames[part])) for layer in self._layers]
            for first in range(0, steps, STEPS_AT_ONCE):
                block = slice(first, first + STEPS_AT_ONCE)
                sources = {INPUT: torch.tensor(frames[part, block], device=self.device)}
                for layer, state in zip(self._layers, states, strict=True):
                    fired = layer.run(sources, state)
                    if layer.layer.fires:
                        sources[layer.layer.name] = fired
                        spikes[layer.layer.name][part, block] = fired.cpu().numpy()
            membrane[part] = states[-1].v.flatten(1).cpu().numpy()
        if program.readout == "membrane":
            return EngineOutput(membrane, spikes)
        return EngineOutput(spikes[last.name].sum(1, dtype=np.int64).reshape(samples, -1), spikes)


@dataclass
class _State:
    """Memory of a layer: current and membrane int32 [N, *shape], and past values of its sources.

    `past`: for every synapse, the last values that it still needs.
    """

    u: Tensor
    v: Tensor
    past: list[Tensor]


class _Layer:
    """A layer with its weights and constants on the device."""

    def __init__(
        self, program: Program, layer: Layer, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.layer, self.device, self.dtype = layer, device, dtype
        self.bias = (torch.tensor(layer.bias, device=device) << STATE_SHIFT).view(
            -1, *[1] * (len(layer.shape) - 1)
        )
        self.voltage_kept, self.current_kept = (
            (DECAY_ONE - decay) / DECAY_ONE for decay in (layer.voltage_decay, layer.current_decay)
        )
        self.sources = [program.shape_of(synapse.source) for synapse in layer.synapses]
        self.weights = [_by_delay(synapse, device, dtype) for synapse in layer.synapses]

    def start(self, samples: int) -> _State:
        """Return the state at a sample's start."""
        u, v = torch.zeros((2, samples, *self.layer.shape), dtype=torch.int32, device=self.device)
        past = [
            torch.zeros(
                (samples, self.layer.steps_back(synapse), *shape),
                dtype=torch.uint8,
                device=self.device,
            )
            for synapse, shape in zip(self.layer.synapses, self.sources, strict=True)
        ]
        return _State(u, v, past)

    def run(self, sources: dict[str, Tensor], state: _State) -> Tensor:
        """Run the steps of the sources, uint8 [N, T, *shape] each.

        Returns the spikes, uint8 [N, T, *layer.shape], and changes the state.
        """
        samples, steps = sources[INPUT].shape[:2]
        a = torch.zeros((samples, steps, *self.layer.shape), dtype=self.dtype, device=self.device)
        recurrent = []
        for i, synapse in enumerate(self.layer.synapses):
            if synapse.source == self.layer.name:
                recurrent.append(i)
            elif synapse.source in sources:  # a layer that does not fire sends nothing
                values = torch.cat([state.past[i], sources[synapse.source]], 1)
                a += self._sums(i, values, steps)
                state.past[i] = values[:, steps:]
        drive = a.to(torch.int32) << STATE_SHIFT
        spikes = torch.zeros(
            (samples, steps, *self.layer.shape), dtype=torch.uint8, device=self.device
        )
        for t in range(steps):
            for i in recurrent:
                drive[:, t] += self._sums(i, state.past[i], 1)[:, 0].to(torch.int32) << STATE_SHIFT
            spikes[:, t] = self._step(drive[:, t], state)
            for i in recurrent:
                state.past[i] = torch.cat([state.past[i][:, 1:], spikes[:, t : t + 1]], 1)
        return spikes

    def _step(self, drive: Tensor, state: _State) -> Tensor:
        """Update the neurons once; return the spikes as bool [N, *shape]."""
        u = drive + _kept(state.u, self.current_kept) if self.current_kept else drive
        u = _wrap(u)
        v = _kept(state.v, self.voltage_kept) + u + self.bias
        v = v.clamp(-MEMBRANE_LIMIT, MEMBRANE_LIMIT)
        spike = v > (self.layer.threshold << STATE_SHIFT)
        state.u, state.v = u, v.masked_fill(spike, 0) if self.layer.fires else v
        return spike

    def _sums(self, i: int, values: Tensor, steps: int) -> Tensor:
        """Compute what synapse i delivers in the last `steps` steps of values [N, past + steps,
        *shape].

        Returns [N, steps, *layer.shape].
        """
        synapse = self.layer.synapses[i]
        newest = values.shape[1] - steps  # where a synapse without a delay begins to read
        total: Tensor | None = None
        for delay, weight in self.weights[i].items():
            x = values[:, newest - delay : newest - delay + steps]
            part = self._product(synapse, self.sources[i], weight, x.flatten(0, 1)).unflatten(
                0, (len(x), steps)
            )
            total = part if total is None else total + part
        assert total is not None
        return total

    def _product(
        self, synapse: Synapse, source: tuple[int, ...], weight: Tensor, x: Tensor
    ) -> Tensor:
        """Compute the sums [M, *layer.shape] of uint8 [M, *source].

        It takes so many images at a time that memory stays bounded.
        """
        shape = self.layer.shape
        if synapse.kind == "dense":
            delivered: Tensor = (
                _pool(x.to(self.dtype), synapse.pool).flatten(1) @ weight
            ).unflatten(1, shape)
            return delivered
        _, height, width = conv_shape(synapse, source)
        taps = synapse.weight.shape[2:]
        images = max(
            1,
            VALUES_AT_ONCE
            // (pooled(source, synapse.pool)[0] * int(np.prod(taps)) * height * width),
        )
        out = []
        for part in x.split(images):
            columns = F.unfold(
                _pool(part.to(self.dtype), synapse.pool),
                taps,
                synapse.dilation,
                synapse.padding,
                synapse.stride,
            )
            sums = weight @ columns.unflatten(
                1, (synapse.groups, -1)
            )  # [M, groups, channels a group, positions]
            out.append(sums.reshape(len(part), -1, height, width)[..., : shape[1], : shape[2]])
        return torch.cat(out)


def _by_delay(synapse: Synapse, device: torch.device, dtype: torch.dtype) -> dict[int, Tensor]:
    """Return the weights as matrices, one a delay.

    dense: [N_in, N_out]; conv: [groups, C_out / groups, C_in / groups * taps].
    """
    weight = torch.tensor(synapse.weight, device=device, dtype=dtype)
    if synapse.kind == "conv":
        return {0: weight.reshape(synapse.groups, weight.shape[0] // synapse.groups, -1)}
    if synapse.delays is None:
        return {0: weight.T}
    delays = torch.tensor(synapse.delays, device=device)
    return {delay: (weight * (delays == delay)).T for delay in np.unique(synapse.delays).tolist()}


def _pool(x: Tensor, pool: int) -> Tensor:
    """Sum over pool x pool windows."""
    return F.avg_pool2d(x, pool, divisor_override=1) if pool > 1 else x


def _kept(x: Tensor, share: float) -> Tensor:
    """Compute tz(x * share) in doubles.

    The product of 24 or 32 bits with 12 is exact, and the cast cuts toward zero.
    """
    return x if share == 1 else (x.double() * share).to(torch.int32)


def _wrap(u: Tensor) -> Tensor:
    """Wrap currents to 24 bits, as `arithmetic.wrap` does."""
    raised = torch.where(u <= -CURRENT_LIMIT, u + CURRENT_SPAN, u)
    return torch.where(u > CURRENT_LIMIT, u - CURRENT_SPAN, raised)


@contextmanager
def _whole_products() -> Iterator[None]:
    """Forbid torch to shorten float32 in matrix products (TF32, bfloat16)."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _float32_is_exact(device: torch.device) -> bool:
    """Test if float32 products are whole on this machine, whatever its environment says.

    With NVIDIA_TF32_OVERRIDE products have 11 bits, and these are not whole.
    """
    x = torch.full((64, 64), 2.0**11 + 1, device=device)
    return bool((x @ torch.full((64, 64), 63.0, device=device) == 64 * 63 * (2**11 + 1)).all())
