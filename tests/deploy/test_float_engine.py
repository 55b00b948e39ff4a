"""The float engine: ONNX Runtime on network-float.onnx, or numpy on network.nir."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from example_bundles import SHAPE, STEPS, example_frames, example_parts, write_example
from example_networks import make_frames, make_network
from numpy.typing import NDArray
from torch.nn import functional

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.deploy.engines.float import FloatEngine
from tmkt.deploy.engines.registry import USUAL, installed_engines
from tmkt.deploy.parity.report import parity
from tmkt.errors import InputError
from tmkt.export.quantise.quantise import quantise
from tmkt.install import pip_install
from tmkt.nir.from_network import network_to_nir
from tmkt.nir.lower import FloatLayer, lower
from tmkt.nir.order import order

TIE = 1e-5  # thresholds: how near to one a membrane is where float32 sums may fall on either side


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_example(tmp_path_factory.mktemp("float") / "bundle", example_parts())


def without(bundle: Bundle, *names: str) -> Bundle:
    """The bundle as one that was exported without these files."""
    files = {name: file for name, file in bundle.manifest["files"].items() if name not in names}
    return replace(bundle, manifest={**bundle.manifest, "files": files})


def distance_to_threshold(
    layer: FloatLayer, sent: dict[str, NDArray[np.uint8]], spikes: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Compute how far each membrane of a lowered layer is from its threshold of 1, [N, T, *shape],
    where its sources sent `sent` and it spiked as `spikes` say: plainly, in float64.
    """
    samples, steps = spikes.shape[:2]
    bias = torch.from_numpy(layer.bias).view(-1, *[1] * (len(layer.shape) - 1))
    drive = bias.expand(samples * steps, *layer.shape).clone()
    for synapse, values in zip(layer.synapses, layer.weights, strict=True):
        assert synapse.kind == "conv"
        x = torch.from_numpy(sent[synapse.source]).double().flatten(0, 1)
        if synapse.pool > 1:
            x = functional.avg_pool2d(x, synapse.pool, divisor_override=1)
        y = functional.conv2d(x, torch.from_numpy(values), None, synapse.stride, synapse.padding)
        drive += y[..., : layer.shape[1], : layer.shape[2]]
    v = torch.zeros(samples, *layer.shape, dtype=torch.float64)
    distances = []
    for t, now in enumerate(drive.unflatten(0, (samples, steps)).unbind(1)):
        v = v * (1 - layer.decay) + now
        distances.append((v - 1).abs())
        v = v.masked_fill(torch.from_numpy(spikes[:, t] != 0), 0)
    found: NDArray[np.float64] = torch.stack(distances, 1).numpy()
    return found


def test_both_files_give_the_same_classes_and_spikes_but_at_ties(tmp_path: Path) -> None:
    """A spike may differ only where float32 sums of another order put a membrane on the other side
    of the threshold, or after such a spike.
    """
    graph = network_to_nir(make_network(SHAPE, (6, 8), (1, 1), (2, 2), classes=4))
    frames = make_frames(40, STEPS, SHAPE, seed=3)
    program, report = quantise(graph, SHAPE, 1, frames[:8])
    bundle = write_example(tmp_path / "bundle", (graph, program, report))
    onnx = FloatEngine(bundle).run(frames)
    numpy = FloatEngine(without(bundle, bundles.ONNX_FLOAT)).run(frames)
    np.testing.assert_array_equal(onnx.predictions, numpy.predictions)
    assert onnx.readout.dtype == numpy.readout.dtype == np.float32
    same = np.ones((len(frames), STEPS), bool)  # samples up to the step of their first difference
    sent = {"input": frames}
    for layer in lower(order(graph))[:-1]:
        one, other = onnx.spikes[layer.name], numpy.spikes[layer.name]
        assert one.shape == other.shape == (len(frames), STEPS, *layer.shape)
        assert other.any()
        differs = one != other
        here = differs.reshape(*differs.shape[:2], -1).any(2)
        first = same & np.logical_and(here, np.cumsum(here, 1) == 1)
        ties = distance_to_threshold(layer, sent, other) < TIE
        assert (ties | ~differs)[first].all(), layer.name
        same &= ~np.maximum.accumulate(here, axis=1)
        sent[layer.name] = other
    assert same.mean() > 0.9
    np.testing.assert_allclose(onnx.readout[same[:, -1]], numpy.readout[same[:, -1]], atol=1e-4)


def test_a_host_without_nir_and_torch_proves_parity_with_float(
    bundle: Bundle, tmp_path: Path
) -> None:
    np.save(tmp_path / "frames.npy", example_frames(8))
    script = """
import sys
for name in ("nir", "torch", "onnx", "h5py", "spikingjelly"):
    sys.modules[name] = None
from pathlib import Path
import numpy as np
from tmkt import bundle
from tmkt.deploy.parity.report import parity
opened, frames = bundle.load(Path(sys.argv[1])), np.load(sys.argv[2])
report = parity(opened, ["onnx", "float"], frames, np.zeros(len(frames), np.int64), 100.0)
print(report["passed"], report["engines"][1]["logit_error"] < 0.5)
"""
    command = [sys.executable, "-c", script, bundle.path, tmp_path / "frames.npy"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_usual_engines_that_are_not_installed_are_left_out_and_named(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = without(bundle, bundles.ONNX_FLOAT)  # as older versions exported
    assert installed_engines(USUAL, old) == (["simulator", "onnx", "float"], [])
    monkeypatch.setitem(sys.modules, "nir", None)
    assert installed_engines(USUAL, bundle)[1] == []  # ONNX Runtime runs the float network
    found, missing = installed_engines(USUAL, old)
    assert found == ["simulator", "onnx"]
    assert missing == [f"float: not installed, left out; {pip_install('export')}"]
    with pytest.raises(InputError, match="nir is not installed"):  # asked for by name
        parity(old, ["float"], example_frames(2), np.zeros(2, np.int64))


def test_parity_says_the_same_of_both_files(bundle: Bundle) -> None:
    frames, labels = example_frames(8), np.zeros(8, np.int64)
    one, other = (
        parity(opened, ["float"], frames, labels, 100.0)["engines"][0]
        for opened in (bundle, without(bundle, bundles.ONNX_FLOAT))
    )
    for key in ("rate_change", "prediction_agreement", "first_divergence"):
        assert one[key] == other[key]
    for key in ("logit_error", "logit_gap"):
        assert one[key] == pytest.approx(other[key], rel=1e-3)


@pytest.mark.parametrize(
    ("shape", "channels"), [((2, 5, 5), (6, 8)), ((2, 60, 60), (6, 8)), (SHAPE, (6, 7))]
)
def test_a_graph_of_another_network_is_refused(
    tmp_path: Path, shape: tuple[int, int, int], channels: tuple[int, int]
) -> None:
    other = network_to_nir(make_network(shape, channels, (1, 1), (2, 2), classes=4))
    bundle = write_example(tmp_path / "bundle", (other, *example_parts()[1:]))
    with pytest.raises(InputError, match="do not fit the program; export the network again"):
        FloatEngine(bundle)


def test_a_bundle_without_both_files_is_refused(bundle: Bundle) -> None:
    with pytest.raises(InputError, match=r"holds no network\.nir; export again with --target all"):
        FloatEngine(without(bundle, bundles.ONNX_FLOAT, bundles.NIR))
