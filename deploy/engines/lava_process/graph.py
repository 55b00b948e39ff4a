"""Graph of Lava's processes for a program that netx cannot express.

netx allows one synapse into a layer of neurons; a graph allows several. Every synapse takes one
step. A layer that reads sources of different lags gets the earlier ones through relays
(`tmkt.program.lava_form.relays`): neurons that send what they got, one step later. The input is
sent once for every lag that reads it. A chip would do all of this with synapses and neurons; here
Lava's own Conv, Dense, DelayDense, LIF and LIFReset (0.10.0) compute it.
"""

from typing import Any

import numpy as np
from lava.proc.conv.process import Conv
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.io.source import RingBuffer
from lava.proc.lif.process import LIF, LIFReset
from lava.utils.weightutils import SignMode
from numpy.typing import NDArray

from tmkt.program.arithmetic import DECAY_ONE, MAX_THRESHOLD
from tmkt.program.lava_form import lags, unroll
from tmkt.program.model import INPUT, Layer, Program, Synapse

GRADED_BITS = 8  # width of a count at the input; without it Lava takes every count above 0 for 1


class Graph:
    """Lava's processes of a program.

    `neurons`: of every layer, by name, in the program's order. `depth`: the steps by which the last
    of them is behind the input.
    """

    def __init__(self, program: Program, frames: NDArray[np.uint8]) -> None:
        """`frames`: uint8 [samples, steps, C, H, W], which will run back to back."""
        self.program = program
        self.lag = lags(program.layers)
        self.depth = max(self.lag.values()) + 1
        self.frames = frames
        self.neurons: dict[str, Any] = {}
        self._ports: dict[
            tuple[str, int], Any
        ] = {}  # what a source sends, so many steps later than it can
        for layer in program.layers:
            self.neurons[layer.name] = _neurons(layer, frames.shape[1], self.lag[layer.name])
            if layer.fires:
                self._ports[layer.name, 0] = self.neurons[layer.name].s_out
            for synapse in layer.synapses:
                if synapse.source == INPUT or self._fires(synapse.source):
                    self._connect(synapse, layer)

    def _fires(self, name: str) -> bool:
        return next(layer.fires for layer in self.program.layers if layer.name == name)

    def _connect(self, synapse: Synapse, layer: Layer) -> None:
        source = self.program.shape_of(synapse.source)
        wait = (
            0
            if synapse.source == layer.name
            else self.lag[layer.name] - 1 - self.lag[synapse.source]
        )
        bits = GRADED_BITS if synapse.source == INPUT and self.program.max_count > 1 else 0
        connection = _connection(unroll(synapse, source, layer.shape), source, bits)
        port, a_in = self._sent(synapse.source, wait), self.neurons[layer.name].a_in
        if synapse.kind == "conv":
            port.connect(connection.s_in)
            connection.a_out.connect(a_in)
            return
        (port.transpose([2, 1, 0]).flatten() if len(source) == 3 else port).connect(connection.s_in)
        out = connection.a_out
        (out.reshape(layer.shape).transpose([2, 1, 0]) if len(layer.shape) == 3 else out).connect(
            a_in
        )

    def _sent(self, source: str, wait: int) -> Any:
        """Return the port that sends what the source sends, `wait` steps later."""
        if (source, wait) not in self._ports:
            if source == INPUT:
                self._ports[source, wait] = self._input(wait)
            else:
                self._ports[source, wait] = _relayed(
                    self._sent(source, wait - 1), self.program.shape_of(source)
                )
        return self._ports[source, wait]

    def _input(self, wait: int) -> Any:
        """Send the frames from step 1 + `wait` on.

        Zeros stand around them, as the source would begin again.
        """
        steps = self.frames.reshape(-1, *self.frames.shape[2:])
        data = np.zeros((*self.program.input_shape[::-1], len(steps) + self.depth + 1), np.int32)
        data[..., wait : wait + len(steps)] = steps.T
        return RingBuffer(data=data).s_out


def _neurons(layer: Layer, steps: int, lag: int) -> Any:
    """Make the neurons of a layer, reset at every step at which a sample reaches it."""
    bias = np.broadcast_to(
        layer.bias.reshape(-1, *[1] * (len(layer.shape) - 1)), layer.shape
    ).T.copy()
    return LIFReset(
        shape=layer.shape[::-1],
        du=layer.current_decay - 1,  # Lava adds 1
        dv=layer.voltage_decay,
        bias_mant=bias,
        bias_exp=6,
        vth=layer.threshold if layer.fires else MAX_THRESHOLD,
        reset_interval=steps,
        reset_offset=lag
        + 2,  # the source sends step 0 at Lava's step 1, a synapse later it is here
    )


def _relayed(port: Any, shape: tuple[int, ...]) -> Any:
    """Make neurons that send what `port` sends, a step later.

    A map becomes one long row of one channel: Lava's convolution takes time for each pair of
    channels.
    """
    row = (int(np.prod(shape)), 1, 1)
    identity = Conv(weight=np.full((1, 1, 1, 1), 2), input_shape=row)
    neurons = LIF(shape=row, du=DECAY_ONE - 1, dv=DECAY_ONE, vth=1)
    port.reshape(row).connect(identity.s_in)
    identity.a_out.connect(neurons.a_in)
    return neurons.s_out.reshape(shape[::-1])


def _connection(synapse: Synapse, source: tuple[int, ...], bits: int) -> Any:
    """Make the Lava process of an unrolled synapse.

    Lava's axes are (W, H, C), and its convolution flips the kernel.
    """
    weight = synapse.weight.astype(int)
    if synapse.kind == "conv":
        pairs = {name: getattr(synapse, name)[::-1] for name in ("stride", "padding", "dilation")}
        kernel = weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)
        return Conv(
            weight=kernel,
            input_shape=source[::-1],
            groups=synapse.groups,
            num_message_bits=bits,
            **pairs,
        )
    odd = int(
        np.any(weight & 1)
    )  # Lava drops the lowest bit of a weight: odd ones are doubled, and their sum is halved
    settings = {
        "weights": weight << odd,
        "weight_exp": -odd,
        "num_weight_bits": 8,
        "sign_mode": SignMode.MIXED,
        "num_message_bits": bits,
    }
    return (
        Dense(**settings)
        if synapse.delays is None
        else DelayDense(delays=synapse.delays.astype(int), **settings)
    )
