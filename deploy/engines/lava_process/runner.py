"""Runner of real Lava, for a netx file or for a program as a graph (graph.py).

`python -m tmkt.deploy.engines.lava_process.runner JOB_DIR`. Lava is imported nowhere else.

JOB_DIR holds `job.json` (see `Job`) and `frames.npy`, uint8 [samples, steps, C, H, W]. The runner
adds, for each layer i that fires, `spikes-<i>.npy`: uint8 [samples, steps, ceil(neurons / 8)],
spikes in C, H, W order, packed by `numpy.packbits`; and `membrane.npy`: int64 [samples, K], the
last layer's state v after each sample's last step.

All samples run back to back in one run. Every layer's state is reset at the step at which a sample
reaches it (`reset_interval`; with `reset_offset=1`, because a netx file has no neurons at its
input). A layer that is `lag` steps behind the first one answers time step t of sample k at Lava's
step k * steps + t + 2 + lag; in a netx file, layer i (from 0) has lag i. Standard error gets a line
"done K" after each sample, "error: ..." before exit 1.
"""

import json
import multiprocessing.connection
import multiprocessing.util
import os
import shutil
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.engines.lava_process import compat

compat.prepare()

from lava.lib.dl.netx import hdf5  # noqa: E402
from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402
from lava.proc.io.source import RingBuffer  # noqa: E402

from tmkt.deploy.engines.lava_process.graph import GRADED_BITS, Graph  # noqa: E402
from tmkt.deploy.engines.lava_process.sink.file_sink import FileSink  # noqa: E402
from tmkt.program import file as program_file  # noqa: E402


@dataclass(frozen=True)
class Job:
    """Description of a run.

    `net`: the netx file, or with `graph` a program's file. Shapes are (C, H, W) or (N,). `fires`,
    `shapes` and `late` have one entry a layer (of a netx file: a layer that has weights). `late`:
    what the layer sends may arrive steps later than it could.
    """

    net: str
    samples: int
    steps: int
    input_shape: tuple[int, ...]
    max_count: int
    shapes: tuple[tuple[int, ...], ...]
    fires: tuple[bool, ...]
    late: tuple[bool, ...] = ()
    graph: bool = False


@dataclass(frozen=True)
class Network:
    """Lava's processes.

    `whole` creates the runtime of all. `outputs`, `lags`: each layer's output port and lag.
    `membrane`: that of the last layer.
    """

    whole: Any
    outputs: list[Any]
    lags: list[int]
    membrane: Any


def read_job(path: Path) -> Job:
    """Read `job.json`."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    return Job(
        **{
            **entries,
            "input_shape": tuple(entries["input_shape"]),
            "shapes": tuple(map(tuple, entries["shapes"])),
        }
    )


def open_network(job: Job, frames: NDArray[np.uint8]) -> Network:
    """Open the network, fed with frames uint8 [samples, steps, C, H, W]."""
    if job.graph:
        graph = Graph(program_file.load(Path(job.net)), frames)
        neurons = list(graph.neurons.values())
        return Network(
            neurons[-1],
            [layer.s_out for layer in neurons],
            [graph.lag[name] for name in graph.neurons],
            neurons[-1].v,
        )
    netx = open_netx(job)
    source = RingBuffer(data=lava_input(frames, netx))
    source.s_out.connect(netx.inp)
    return Network(
        netx,
        [layer.out for layer in netx.layers],
        list(range(len(netx.layers))),
        netx.layers[-1].neuron.v,
    )


def open_netx(job: Job) -> Any:
    """Load the netx file. Raises ValueError unless its shapes are those of the job.

    Lava's order of axes is (W, H, C).
    """
    bits = GRADED_BITS if job.max_count > 1 else 0
    network = hdf5.Network(
        net_config=job.net, reset_interval=job.steps, reset_offset=1, input_message_bits=bits
    )
    found = [tuple(map(int, layer.shape))[::-1] for layer in network.layers]
    if found != list(job.shapes):
        raise ValueError(f"{job.net} has layers of shape {found}, the program {list(job.shapes)}")
    shape = tuple(map(int, network.inp.shape))[::-1]
    if shape not in (job.input_shape, (int(np.prod(job.input_shape)),)):
        raise ValueError(
            f"{job.net} takes an input of shape {shape}, the program {job.input_shape}"
        )
    return network


def lava_input(frames: NDArray[np.uint8], network: Any) -> NDArray[np.int32]:
    """Reorder frames [samples, steps, C, H, W] as Lava's source takes them.

    That is [W, H, C, time], or [neurons, time] for a dense first layer. Zeros follow for as many
    steps as the last sample needs to pass all layers; otherwise the source would start again.
    """
    shape = tuple(network.inp.shape)
    data = np.zeros((*shape, frames.shape[0] * frames.shape[1] + len(network.layers)), np.int32)
    steps = frames.reshape(-1, *shape[::-1])
    data[..., : len(steps)] = steps.T
    return data


def run(job: Job, folder: Path) -> None:
    """Run all samples and write spikes and membranes into `folder`."""
    network = open_network(job, np.load(folder / "frames.npy", allow_pickle=False))
    whole, lag = network.whole, network.lags[-1]
    sinks = {
        i: FileSink(shape=network.outputs[i].shape, path=str(folder / f"spikes-{i}.bits"))
        for i, fires in enumerate(job.fires)
        if fires
    }
    for i, sink in sinks.items():
        network.outputs[i].connect(sink.a_in)
    config = Loihi2SimCfg(select_tag="fixed_pt")
    membranes = []
    whole.create_runtime(run_cfg=config)
    stopping = watch_children(whole.runtime)
    for k in range(job.samples):
        whole.run(
            condition=RunSteps(num_steps=job.steps + (lag + 1 if k == 0 else 0)), run_cfg=config
        )
        membranes.append(np.asarray(network.membrane.get()).T.reshape(-1).astype(np.int64))
        print(f"done {k + 1}", file=sys.stderr, flush=True)
    if max(network.lags) > lag:  # layers that nothing reads may be later than the last one
        whole.run(condition=RunSteps(num_steps=max(network.lags) - lag), run_cfg=config)
    stopping.set()
    whole.stop()
    np.save(folder / "membrane.npy", np.stack(membranes))
    for i in sinks:
        align(folder, i, network.lags[i], job)


def align(folder: Path, i: int, lag: int, job: Job) -> None:
    """Cut the steps of the samples out of what layer i gave in all steps of the run.

    Raises ValueError if it fired before the first sample reached it and that arrives within the
    sample: biases act from Lava's first step on.
    """
    bits = np.fromfile(folder / f"spikes-{i}.bits", np.uint8).reshape(
        -1, (int(np.prod(job.shapes[i])) + 7) // 8
    )
    if job.late and job.late[i] and bits[: 1 + lag].any():
        raise ValueError(
            f"layer {i} fires on its bias alone before the sample starts, and what it sends is"
            " delayed into it"
        )
    window = bits[1 + lag : 1 + lag + job.samples * job.steps]
    np.save(folder / f"spikes-{i}.npy", window.reshape(job.samples, job.steps, -1))
    (folder / f"spikes-{i}.bits").unlink()


def watch_children(runtime: Any) -> threading.Event:
    """End this process with an error if one of Lava's processes ends too early.

    Too early is before the returned event is set. Lava itself would wait for ever for a process
    that was killed (out of memory).
    """
    stopping = threading.Event()
    sentinels = [actor.sentinel for actor in runtime._messaging_infrastructure.actors]

    def watch() -> None:
        multiprocessing.connection.wait(sentinels)
        if not stopping.wait(
            timeout=3
        ):  # time for the error of a process that did not die silently
            print(
                "error: one of Lava's processes ended early; is there enough memory?",
                file=sys.stderr,
                flush=True,
            )
            abandon()

    threading.Thread(target=watch, daemon=True).start()
    return stopping


def end_with_parent() -> None:
    """End this process and Lava's when the engine closes standard input or is gone.

    This applies only in a session of its own, as the engine starts it: by hand, standard input is
    somebody else's.
    """
    if os.getsid(0) != os.getpid():
        return

    def watch() -> None:
        while os.read(0, 1):  # not sys.stdin, whose lock a forked process would inherit
            pass
        abandon()

    threading.Thread(target=watch, daemon=True).start()


def abandon() -> NoReturn:
    """End Lava's processes and this one, without waiting for what may never answer."""
    for child in multiprocessing.active_children():
        child.kill()
    shutil.rmtree(multiprocessing.util.get_temp_dir(), ignore_errors=True)
    os._exit(1)


def main(folder: Path) -> int:
    """Run the job in `folder`; return the exit code."""
    # made here, it is the one that Lava's processes inherit and `abandon` removes
    multiprocessing.util.get_temp_dir()
    end_with_parent()
    try:
        run(read_job(folder / "job.json"), folder)
    except Exception as error:
        compat.report(error)
        abandon()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
