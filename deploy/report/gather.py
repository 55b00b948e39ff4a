"""Contents of a report: one dictionary, which is `tmkt report --json`.

Every table and plot of the page is made of it alone.
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from tmkt import __version__
from tmkt.bundle import Bundle, sha256
from tmkt.datasets.registry import dataset
from tmkt.datasets.types import Recording
from tmkt.deploy.energy.report import energy
from tmkt.deploy.engines.registry import USUAL, open_engine
from tmkt.deploy.evaluate import Measurement, answers_of, evaluate, measure
from tmkt.deploy.fit.device import load_device
from tmkt.deploy.fit.network import from_program
from tmkt.deploy.fit.report import fit
from tmkt.deploy.parity.report import REFERENCE, parity
from tmkt.deploy.report.commands import commands, train_command
from tmkt.deploy.report.ranges import describe_ranges, range_rows
from tmkt.deploy.report.training import training
from tmkt.deploy.warnings import layer_warnings
from tmkt.pace import one_after_the_other
from tmkt.program.model import Program
from tmkt.recipe import dump_recipe
from tmkt.runs import MODEL, Run

# Their versions may change the figures of a deployment.
LIBRARIES = ("numpy", "numba", "onnxruntime")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Samples:
    """Recordings of a split with frames uint8 [N, T, 2, H, W] and labels int64 [N]; `data` is their
    folder.
    """

    recordings: Sequence[Recording]
    frames: NDArray[np.uint8]
    labels: NDArray[np.int64]
    data: Path
    split: str


@dataclass(frozen=True)
class Wanted:
    """Options of a report: engines for parity, devices for cores and energy, points of accuracy
    that may be lost.

    `parity` and `energy` are reports that were made before over the same recordings; they are used
    as they are.
    """

    engines: Sequence[str] = USUAL
    devices: Sequence[str] = ("loihi1", "loihi2")
    max_drop: float = 0.5
    parity: Sequence[dict[str, Any]] = ()
    energy: dict[str, Any] | None = None


def gather(
    bundle: Bundle,
    run: Run | None,
    samples: Samples | None,
    wanted: Wanted,
    name: str,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], NDArray[np.int64] | None]:
    """Make the report of a bundle, of the run that it was made from if given, and over recordings
    if given.

    Also returns the simulator's answers, int64 [N], or None without recordings.

    docs/report.md lists the keys; what is not known is None. The report holds no times, so the same
    input gives the same report. Raises InputError for an engine or a device that is not known or
    not installed. `progress` is called with (done, all) in recordings times parts of the report.
    """
    parts = len(wanted.devices)
    parts += 1 if wanted.parity else len(wanted.engines) + 2  # the answers, the reference
    parts += 0 if wanted.energy else 1
    total = parts * len(samples.frames) if samples else 0
    tell = one_after_the_other(progress or (lambda *_: None), total)
    origin, program = bundle.manifest["origin"], bundle.program
    measured = (
        None
        if samples is None
        else measure(bundle, open_engine(REFERENCE, bundle), samples.frames, _done(tell, samples))
    )
    found = None if samples is None or measured is None else _evaluation(bundle, measured, samples)
    report = {
        "name": name,
        "heading": _heading(_network_of(bundle), origin["dataset"], bundle.classes),
        "dataset": origin["dataset"],
        "title": _title(origin["dataset"], bundle.classes),
        "classes": bundle.classes,
        "input": bundle.manifest["input"],
        "training": None if run is None else training(run),
        "recipe": _recipe(origin, run),
        "refused": None,
        "trained_on": len(origin["trained_on"]),
        "model_sha256": origin.get("model_sha256"),
        "network": network(program),
        "split": None if samples is None else samples.split,
        "evaluation": found,
        "rates": None if measured is None else rates(measured),
        "quantisation": bundle.manifest["quantisation"],
        "ranges": {
            "verdict": describe_ranges(program, bundle.contract.bins),
            "layers": range_rows(program, bundle.contract.bins),
        },
        "parity": _parity(bundle, samples, wanted, tell),
        "fit": [_fit(bundle, device, samples, tell) for device in wanted.devices],
        "energy": wanted.energy
        or (
            samples
            and energy(bundle, wanted.devices, samples.frames, samples.labels, _done(tell, samples))
        ),
        "samples": [],
        "commands": commands(bundle, None if samples is None else samples.data),
        "versions": _versions(),
    }
    return report, None if measured is None else measured.predictions


def of_run(run: Run, name: str, refused: str) -> dict[str, Any]:
    """Make the report of a run whose network does not become integers, for the reason `refused`.

    It has the same keys; what only a bundle knows is None or empty.
    """
    info, data = run.info, run.recipe.data
    contract = {
        "sensor": info["sensor"],
        "bins": data.bins,
        "bin_us": data.bin_us,
        "max_count": data.max_count,
    }
    return {
        "name": name,
        "heading": _heading(run.recipe.network.name, data.name, info["classes"]),
        "dataset": data.name,
        "title": _title(data.name, info["classes"]),
        "classes": [str(label) for label in info["classes"]],
        "input": contract,
        "training": training(run),
        "recipe": dump_recipe(run.recipe),
        "refused": refused,
        "trained_on": len(info["trained_on"]),
        "model_sha256": sha256(run.path / MODEL),
        **dict.fromkeys(("split", "evaluation", "rates", "parity", "energy", "ranges")),
        **{key: [] for key in ("network", "quantisation", "fit", "samples")},
        "commands": [train_command(data.name, bool(info["images_trained_on"]), None)],
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    return {
        "tmkt": __version__,
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
    }


def _done(tell: Progress, samples: Samples) -> Callable[[int], None]:
    return lambda done: tell(done, len(samples.frames))


def _heading(network: str, data: str, classes: Sequence[str]) -> str:
    """Name what the report is about: a network and the recordings that it answers to."""
    title = _title(data, classes)
    return f"Network {network} on {title.partition(' and ')[0].partition(' (')[0]}"


def _title(data: str, classes: Sequence[str]) -> str:
    """Name the recordings; the title of own ones says how their folders lie."""
    return "own recordings" if data in ("folders", "spikes") else dataset(data, classes).title


def _network_of(bundle: Bundle) -> str:
    """Name the family of a bundle's network; where it was trained elsewhere, count its layers."""
    try:
        return str(bundle.manifest["origin"]["recipe"]["network"]["name"])
    except (KeyError, TypeError):  # of a .nir file, or older than this tmkt
        return f"of {len(bundle.program.layers)} layers"


def _recipe(origin: dict[str, Any], run: Run | None) -> str | None:
    """Return the resolved recipe as TOML; None for a bundle that no run was exported to."""
    if run is not None:
        return dump_recipe(run.recipe)
    known = origin.get("recipe")
    if not isinstance(known, dict) or not all(
        isinstance(values, dict) for values in known.values()
    ):
        return None
    try:
        return tomli_w.dumps(known)  # as it is: a bundle may be older than this tmkt
    except TypeError:  # JSON's null, which no recipe holds
        return None


def _evaluation(bundle: Bundle, measured: Measurement, samples: Samples) -> dict[str, Any]:
    """Make the report of `tmkt evaluate` without the time, which differs from run to run."""
    answers, (count, steps) = answers_of(measured), samples.frames.shape[:2]
    found = evaluate(REFERENCE, bundle.program.classes, answers, samples.labels).to_json()
    del found["seconds_per_sample"]
    warnings = layer_warnings(
        bundle.program, steps, count, answers.input_spikes, answers.layer_spikes
    )
    labels = {*samples.labels.tolist(), bundle.nothing}  # no recording is of noise
    tested = [name for label, name in enumerate(bundle.classes) if label in labels]
    return {**found, "classes_tested": tested, "warnings": warnings}


def network(program: Program) -> list[dict[str, Any]]:
    """List the layers: name, shape, neurons, sources, and the number of weights."""
    return [
        {
            "name": layer.name,
            "shape": list(layer.shape),
            "neurons": layer.neurons,
            "weights": sum(int(synapse.weight.size) for synapse in layer.synapses),
            "synapses": [_synapse(synapse) for synapse in layer.synapses],
            "fires": layer.fires,
        }
        for layer in program.layers
    ]


def _synapse(synapse: Any) -> str:
    pooling = f"{synapse.pool} x {synapse.pool} pooling, " if synapse.pool > 1 else ""
    if synapse.kind == "dense":
        return f"{pooling}dense, from {synapse.source}"
    rows, columns = synapse.weight.shape[2:]
    stride = f", stride {synapse.stride[0]}" if synapse.stride != (1, 1) else ""
    return f"{pooling}{rows} x {columns} convolution{stride}, from {synapse.source}"


def rates(measured: Measurement) -> list[dict[str, Any]]:
    """List what every layer does in a recording: spikes, spikes per neuron and step, and synaptic
    operations.
    """
    trace, found = measured.trace.to_json(), []
    for layer in trace["layers"]:
        share = layer["spikes_per_sample"] / (layer["neurons"] * trace["steps"])
        kept = {
            key: layer[key]
            for key in (
                "name",
                "neurons",
                "spikes_per_sample",
                "spikes_sd",
                "synops_per_sample",
                "source_spikes_per_sample",
            )
        }
        found.append({**kept, "rate": share})
    return found


def _parity(
    bundle: Bundle, samples: Samples | None, wanted: Wanted, tell: Progress
) -> list[dict[str, Any]] | None:
    if wanted.parity:
        return list(wanted.parity)
    if samples is None:
        return None
    return [
        parity(
            bundle,
            wanted.engines,
            frames=samples.frames,
            labels=samples.labels,
            max_drop_points=wanted.max_drop,
            progress=lambda done, total, *_: tell(done, total),
        )
    ]


def _fit(bundle: Bundle, name: str, samples: Samples | None, tell: Progress) -> dict[str, Any]:
    """Make the report of `tmkt fit`, with the mesh that its cores lie on."""
    device = load_device(name)
    done = None if samples is None else _done(tell, samples)
    found = fit(
        from_program(bundle.program),
        device,
        bundle=bundle,
        frames=None if samples is None else samples.frames,
        progress=done,
    )
    return {
        **found,
        "mesh": {"rows": device.limits.mesh_rows, "cores_per_node": device.limits.cores_per_tile},
    }
