"""Networks that other frameworks made and wrote with their own exporters: the spikes here are the
spikes there.
"""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from example_nir import frames
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.export.normalise import normalise
from tmkt.export.quantise.quantise import quantise
from tmkt.nir.conventions import Conventions
from tmkt.nir.file import read_nir
from tmkt.nir.float_network import FloatNetwork
from tmkt.nir.order import order
from tmkt.program.simulator.simulator import Simulator

GOLDEN = Path(__file__).parents[1] / "golden" / "frameworks"
Spikes = list[NDArray[np.uint8]]


def check(
    path: Path,
    conventions: Conventions,
    given: NDArray[np.uint8],
    expected: Spikes,
    report: Callable[[str, object], None],
    as_is: bool = True,
) -> None:
    """No mismatch as the file has it, and none in this project's form; what the integers lose is
    reported, and little.

    `as_is` False: the file's neurons do not start at 0, which only this project's form says.
    """
    network = order(read_nir(path), conventions, strict=True)
    graph, _ = normalise(network, (4, 4) if len(network.input_shape) == 1 else None)
    shape = FloatNetwork(graph).graph.input_shape
    runs = [FloatNetwork(graph).run(given.reshape(*given.shape[:2], *shape)).spikes.values()]
    if as_is:
        runs.append(
            FloatNetwork(network)
            .run(given.reshape(*given.shape[:2], *network.input_shape))
            .spikes.values()
        )
    for spikes in runs:
        assert len(spikes) == len(expected)
        for found, wanted in zip(spikes, expected, strict=True):
            assert wanted.any()
            np.testing.assert_array_equal(found.reshape(wanted.shape), wanted)
    program, _ = quantise(graph, shape, 1, given.reshape(*given.shape[:2], *shape))
    out = Simulator(program, 1).run(given.reshape(*given.shape[:2], *shape))
    fires = [layer for layer in program.layers if layer.fires]
    for layer, wanted in zip(fires, expected, strict=True):
        loss = float(
            (
                out.spikes[layer.name] != wanted.reshape(len(wanted), wanted.shape[1], *layer.shape)
            ).mean()
        )
        report(f"{path.stem} {layer.name}: share of differing spikes", loss)
        assert loss < (
            0.02 if layer is fires[0] else 0.2
        )  # untrained layers with random weights pass on every difference, and add theirs


def spikingjelly(
    kind: str, settings: dict[str, Any], given: NDArray[np.uint8], path: Path
) -> Spikes:
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    def make() -> Any:
        return getattr(neuron, kind)(**settings)

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        layer.Conv2d(2, 6, 3, padding=1),
        make(),
        layer.AvgPool2d(2),
        layer.Conv2d(6, 6, 3, padding=1, bias=False),
        make(),
        layer.Flatten(),
        layer.Linear(6 * 25, 8),
        make(),
    ).eval()
    for parameter in net.parameters():
        if parameter.ndim > 1:
            parameter.data *= 6 if kind in ("IFNode", "CUBALIFNode") else 15
    functional.set_step_mode(net, "m")
    spikes: Spikes = []
    for module in net.modules():
        if isinstance(module, neuron.BaseNode):
            module.register_forward_hook(
                lambda _m, _i, out: spikes.append(
                    out.detach().transpose(0, 1).numpy().astype(np.uint8)
                )
            )
    x = torch.from_numpy(given).float().transpose(0, 1)
    with torch.no_grad():
        net(x)
    computed = list(spikes)
    functional.reset_net(net)
    export_to_nir(net, x[:, :1], path)
    return computed


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "settings", "dt"),
    [
        ("LIFNode", {"tau": 2.0}, 1e-4),
        ("LIFNode", {"tau": 3.0, "decay_input": False}, None),
        ("LIFNode", {"tau": 2.0, "v_reset": -0.2, "v_threshold": 0.7}, 1e-4),
        ("ParametricLIFNode", {"init_tau": 3.0}, 1e-4),
        ("IFNode", {}, None),
        ("IFNode", {"v_reset": 0.1}, None),
        ("CUBALIFNode", {}, None),
    ],
    ids=str,
)
def test_spikingjelly(
    tmp_path: Path, record_property: Any, kind: str, settings: dict[str, Any], dt: float | None
) -> None:
    given = frames((2, 10, 10), steps=20)
    path = tmp_path / f"{kind}.nir"
    expected = spikingjelly(kind, settings, given, path)
    check(
        path,
        Conventions(dt=dt, fires_at=">="),
        given,
        expected,
        record_property,
        as_is="v_reset" not in settings,
    )


def snntorch(net: torch.nn.Sequential, given: NDArray[np.uint8], path: Path) -> Spikes:
    import snntorch as snn
    from snntorch.export_nir import export_to_nir

    for parameter in net.parameters():
        if parameter.ndim > 1:
            parameter.data *= 3
    nir.write(path, export_to_nir(net, torch.zeros(1, *given.shape[2:]), ignore_dims=[0]))
    spikes: dict[str, Spikes] = {}
    for name, module in net.named_children():
        if isinstance(module, snn.SpikingNeuron):

            def keep(_module: object, _inputs: object, out: torch.Tensor, name: str = name) -> None:
                spikes.setdefault(name, []).append(out.numpy().astype(np.uint8))

            module.register_forward_hook(keep)
            module.reset_mem()
    with torch.no_grad():
        for t in range(given.shape[1]):
            net(torch.from_numpy(given[:, t]).float())
    return [np.stack(steps, 1) for steps in spikes.values()]


@pytest.mark.filterwarnings("ignore")
def test_snntorch_convolutions_with_and_without_a_current(
    tmp_path: Path, record_property: Any
) -> None:
    import snntorch as snn

    def set_to(value: float, *shape: int) -> torch.Tensor:
        return torch.full(shape, value)  # its exporter needs the shape of the layer

    def leaky(beta: float, *shape: int) -> Any:
        return snn.Leaky(
            beta=set_to(beta, *shape),
            threshold=set_to(1.0, *shape),
            init_hidden=True,
            reset_mechanism="zero",
        )

    torch.manual_seed(0)
    shape = (4, 3, 3)
    current = snn.Synaptic(
        alpha=set_to(0.5, *shape),
        beta=set_to(0.8, *shape),
        threshold=set_to(1.0, *shape),
        init_hidden=True,
        reset_mechanism="zero",
        reset_delay=False,
    )
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3, padding=1),
        leaky(0.5, 4, 10, 10),
        torch.nn.AvgPool2d((2, 2)),
        torch.nn.Conv2d(4, 4, 3, bias=False),
        current,
        torch.nn.Flatten(),
        torch.nn.Linear(36, 8),
        leaky(0.9, 8),
    )
    given = frames((2, 10, 10), steps=20)
    check(
        tmp_path / "snn.nir",
        Conventions(),
        given,
        snntorch(net, given, tmp_path / "snn.nir"),
        record_property,
    )


@pytest.mark.filterwarnings("ignore")
def test_snntorch_recurrent(tmp_path: Path, record_property: Any) -> None:
    import snntorch as snn

    torch.manual_seed(0)
    recurrent = snn.RLeaky(
        beta=0.5,
        init_hidden=True,
        all_to_all=True,
        linear_features=12,
        reset_mechanism="zero",
        reset_delay=False,
    )
    last = snn.Leaky(
        beta=torch.full((4,), 0.9),
        threshold=torch.ones(4),
        init_hidden=True,
        reset_mechanism="zero",
    )
    net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(32, 12), recurrent, torch.nn.Linear(12, 4), last
    )
    given = frames((2, 4, 4), steps=20)
    expected = snntorch(net, given, tmp_path / "snn.nir")
    check(tmp_path / "snn.nir", Conventions(), given, expected, record_property)


def test_norse(record_property: Any) -> None:
    """tests/golden/frameworks/norse.*, which tests/support/norse_process.py wrote with Norse 1.1.0:
    LIF, LIF with a current, IF.
    """
    stored = np.load(GOLDEN / "norse.npz", allow_pickle=False)
    with pytest.raises(
        InputError,
        match=r"node '5': IF with r = 1, .* --inputs per-step if it counts whole \(Norse\)",
    ):
        order(read_nir(GOLDEN / "norse.nir"), Conventions(dt=1e-3), strict=True)
    conventions = Conventions(dt=1e-3, inputs="per-step")
    check(
        GOLDEN / "norse.nir",
        conventions,
        stored["frames"],
        [stored[name] for name in "135"],
        record_property,
    )


@pytest.mark.skipif("TMKT_NORSE_PYTHON" not in os.environ, reason="needs Norse: make test-peers")
def test_norse_itself_writes_what_is_stored(tmp_path: Path, record_property: Any) -> None:
    script = Path(__file__).parents[1] / "support" / "norse_process.py"
    subprocess.run([os.environ["TMKT_NORSE_PYTHON"], script, "write", tmp_path], check=True)
    stored = np.load(tmp_path / "norse.npz", allow_pickle=False)
    expected = [stored[name] for name in "135"]
    check(
        tmp_path / "norse.nir",
        Conventions(dt=1e-3, inputs="per-step"),
        stored["frames"],
        expected,
        record_property,
    )
