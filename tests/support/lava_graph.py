"""Any integer program as a hand-built graph of Lava processes (0.10.0): convolutions, dense,
delayed and recurrent synapses, several of them into one layer. Golden vectors and marked tests come
from it; it shares no file format with the product.

Lava takes one step for every synapse. `lag` counts how far behind the input a layer runs: a synapse
from further back than the layer before is delayed to match, and every layer's state is reset at the
step at which the sample reaches it. Each sample runs in a graph of its own, because Lava has no
reset for spikes that are under way.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.export.targets.lava import unroll
from tmkt.program import file as program_file
from tmkt.program.arithmetic import MAX_THRESHOLD
from tmkt.program.model import INPUT, Layer, Program, Synapse

Spikes = dict[str, NDArray[np.uint8]]


class Beyond(Exception):
    """The graph cannot follow the program. What it cannot: a pool of odd maps under a convolution;
    a bias that fires before the sample starts, in a layer whose spikes arrive late; a delay that
    comes to more than Lava's 63 steps; and a layer that must not fire but passes Lava's highest
    threshold.
    """


def run_in_lava(program: Program, frames: NDArray[np.uint8]) -> tuple[NDArray[np.int64], Spikes]:
    """Runs frames uint8 [N, T, C, H, W] in a process of its own; gives read-out int64 [N, K] and
    spikes uint8 [N, T, *shape].
    """
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder)
        program_file.save(program, job / "program.safetensors")
        np.save(job / "frames.npy", frames)
        done = subprocess.run(
            [sys.executable, __file__, folder], capture_output=True, text=True, timeout=300
        )
        if done.returncode == 3:
            raise Beyond(done.stderr)
        assert done.returncode == 0, done.stdout + done.stderr
        with np.load(job / "out.npz", allow_pickle=False) as out:
            return out["readout"], {
                layer.name: out[f"spikes/{layer.name}"] for layer in program.layers if layer.fires
            }


def lags(program: Program) -> dict[str, int]:
    """Return how many steps behind the input each layer runs; -1 for the input itself."""
    lag = {INPUT: -1}
    for layer in program.layers:
        lag[layer.name] = 1 + max(
            (lag[s.source] for s in layer.synapses if s.source != layer.name), default=-1
        )
    return lag


def _connection(
    synapse: Synapse, extra: int, source: tuple[int, ...], target: tuple[int, ...], bits: int
) -> Any:
    """A Lava process that is `synapse`, `extra` steps later. Lava's axes are (W, H, C), and its
    convolution flips the kernel.
    """
    from lava.proc.conv.process import Conv
    from lava.proc.dense.process import DelayDense, Dense
    from lava.utils.weightutils import SignMode

    synapse = unroll(synapse, source, target)
    weight = synapse.weight.astype(int)
    if synapse.kind == "conv":
        assert extra == 0, "Lava's convolution has no delays"
        swapped = {name: getattr(synapse, name)[::-1] for name in ("stride", "padding", "dilation")}
        kernel = weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)
        return Conv(
            weight=kernel,
            input_shape=source[::-1],
            groups=synapse.groups,
            num_message_bits=bits,
            **swapped,
        )
    odd = int(
        (weight & 1).any()
    )  # Lava drops the lowest bit of a mixed weight, so odd ones are doubled and the sum is halved
    settings = {
        "weights": weight << odd,
        "weight_exp": -odd,
        "num_weight_bits": 8,
        "sign_mode": SignMode.MIXED,
        "num_message_bits": bits,
    }
    delays = np.zeros(weight.shape, int) if synapse.delays is None else synapse.delays.astype(int)
    if synapse.delays is None and not extra:
        return Dense(**settings)
    if delays.max() + extra > 63:
        raise Beyond(f"a delay of {delays.max() + extra} steps")
    return DelayDense(delays=delays + extra, **settings)


def _flat(port: Any, shape: tuple[int, ...]) -> Any:
    return port.transpose([2, 1, 0]).flatten() if len(shape) == 3 else port


def _neurons(layer: Layer, start: int) -> Any:
    from lava.proc.lif.process import LIFReset

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
        reset_interval=10**6,
        reset_offset=start,
    )


def _run_sample(program: Program, frames: NDArray[np.uint8]) -> tuple[NDArray[np.int64], Spikes]:
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source

    from tmkt.deploy.engines.lava_process.runner import watch_children

    lag = lags(program)
    steps, depth = len(frames), max(lag.values()) + 1
    data = np.zeros((*program.input_shape[::-1], steps + depth + 1), int)
    data[..., :steps] = frames.T
    ports, sinks = {INPUT: Source(data=data).s_out}, {}
    for layer in program.layers:
        neurons = _neurons(
            layer, lag[layer.name] + 2
        )  # the source sends step 0 at Lava's step 1, a synapse later it is here
        if layer.fires:
            ports[layer.name] = neurons.s_out
        for synapse in layer.synapses:
            if synapse.source not in ports:
                continue  # a layer that does not fire
            source = program.shape_of(synapse.source)
            extra = 0 if synapse.source == layer.name else lag[layer.name] - 1 - lag[synapse.source]
            connection = _connection(
                synapse,
                extra,
                source,
                layer.shape,
                8 if synapse.source == INPUT and program.max_count > 1 else 0,
            )
            dense = synapse.kind == "dense"
            (_flat(ports[synapse.source], source) if dense else ports[synapse.source]).connect(
                connection.s_in
            )
            back = dense and len(layer.shape) == 3
            (
                connection.a_out.reshape(layer.shape).transpose([2, 1, 0])
                if back
                else connection.a_out
            ).connect(neurons.a_in)
        sinks[layer.name] = Sink(shape=layer.shape[::-1], buffer=steps + depth + 1)
        neurons.s_out.connect(sinks[layer.name].a_in)
    # The last layer must stop at its sample's last step, which its membrane is read after.
    config = Loihi2SimCfg(select_tag="fixed_pt")
    neurons.create_runtime(run_cfg=config)
    stopping = watch_children(neurons.runtime)
    neurons.run(
        condition=RunSteps(num_steps=steps + 1 + lag[program.layers[-1].name]), run_cfg=config
    )
    membrane = np.asarray(neurons.v.get()).T.reshape(-1).astype(np.int64)
    seen = {name: np.asarray(sink.data.get()).T != 0 for name, sink in sinks.items()}
    stopping.set()
    neurons.stop()
    late = {s.source for layer in program.layers for s in layer.synapses if layer.steps_back(s)}
    late |= {
        s.source
        for layer in program.layers
        for s in layer.synapses
        if lag[s.source] < lag[layer.name] - 1
    }
    early = [name for name in late if name != INPUT and seen[name][: lag[name] + 1].any()]
    if early:
        raise Beyond(f"layer {early[0]!r} fires before the sample starts")
    if any(seen[layer.name].any() for layer in program.layers if not layer.fires):
        raise Beyond("a layer that does not fire in the program fires in Lava")
    spikes = {
        layer.name: seen[layer.name][lag[layer.name] + 1 :][:steps].astype(np.uint8)
        for layer in program.layers
        if layer.fires
    }
    last = program.layers[-1]
    return (
        membrane
        if program.readout == "membrane"
        else spikes[last.name].reshape(steps, -1).sum(0, dtype=np.int64)
    ), spikes


def main(folder: Path) -> int:
    """Runs the job in `folder`; gives the exit code."""
    import tmkt.deploy.engines.lava_process.runner  # prepares this process for Lava  # noqa: F401

    program = program_file.load(folder / "program.safetensors")
    assert max(lags(program).values()) == lags(program)[program.layers[-1].name], (
        "the last layer must be the one that runs latest"
    )
    try:
        samples = [
            _run_sample(program, sample)
            for sample in np.load(folder / "frames.npy", allow_pickle=False)
        ]
    except (Beyond, InputError) as error:
        print(error, file=sys.stderr)
        return 3
    spikes = {f"spikes/{name}": np.stack([s[name] for _, s in samples]) for name in samples[0][1]}
    np.savez(folder / "out.npz", readout=np.stack([readout for readout, _ in samples]), **spikes)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
