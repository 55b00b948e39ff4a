"""Process that runs SANA-FE: read the mapped network that sanafe_run.py wrote, run every
sample twice, write the results.

It needs SANA-FE and numpy and nothing of tmkt, so that it can run in an environment of its own:
python sanafe_process.py IN.npz OUT.npz
"""

import json
import sys
from importlib.metadata import version
from typing import Any

import numpy as np

VERSION = "2.2.9"
NEVER = 2.0**40  # a threshold that no membrane reaches
EDGES_AT_ONCE = 500_000  # lists of Python numbers are large


def build(sanafe: Any, data: Any, network: Any) -> Any:
    """Build the network on SANA-FE's own Loihi: a group per layer, "0" for the input."""
    arch = sanafe.load_loihi()
    cores, net = arch.cores(), sanafe.Network()
    units = {
        "default_synapse_hw_name": "loihi_conv_synapse",
        "default_dendrite_hw_name": "loihi_dendrites",
    }
    kinds = {link["target"]: link["kind"] for link in network["connections"]}
    groups = [net.create_neuron_group("0", len(data["core0"]))]
    for i, layer in enumerate(network["layers"], start=1):
        attributes = {
            "threshold": float(layer["threshold"]) if layer["fires"] else NEVER,
            "leak_decay": layer["kept"],
            "input_decay": 0.0,
            "reset_mode": "hard",
            "reset": 0.0,
            "bias": 0.0,
        }
        here = {
            **units,
            "default_synapse_hw_name": f"loihi_{kinds[i]}_synapse",
        }  # the target says what its synapses cost
        groups.append(
            net.create_neuron_group(
                str(i),
                len(data[f"core{i}"]),
                model_attributes=attributes,
                soma_hw_name="loihi_lif",
                **here,
            )
        )
    inputs: dict[int, int] = {}
    for i, group in enumerate(groups):
        for n, core in enumerate(data[f"core{i}"].tolist()):
            neuron = group[n]
            if i == 0:  # an input unit holds one spike train
                unit = inputs[core] = inputs.get(core, -1) + 1
                neuron.set_attributes(
                    soma_hw_name=f"loihi_inputs[{unit}]",
                    default_synapse_hw_name="loihi_conv_synapse",
                    dendrite_hw_name="loihi_dendrites",
                )
            neuron.set_attributes(log_spikes=i > 0, log_potential=i == len(groups) - 1)
            neuron.map_to_core(cores[core])
    for j, link in enumerate(network["connections"]):
        source, target, weight = (
            data[f"edges{j}_{what}"] for what in ("source", "target", "weight")
        )
        for at in range(0, len(source), EDGES_AT_ONCE):
            part = slice(at, at + EDGES_AT_ONCE)
            pairs = list(zip(source[part].tolist(), target[part].tolist(), strict=True))
            groups[link["source"]].connect_neurons_sparse(
                groups[link["target"]], {"w": weight[part].astype(float).tolist()}, pairs
            )
    chip = sanafe.SpikingChip(arch)
    chip.load(net)
    return chip


def run(chip: Any, data: Any, network: Any, n: int, timing: str, out: dict[str, Any]) -> None:
    """Run one sample alone: a layer's bias starts with the step in which the sample reaches it."""
    mapped = chip.mapped_neuron_groups
    chip.reset()
    trains = np.zeros((network["steps"], data["frames"].shape[2]), np.uint8)
    trains[: data["frames"].shape[1]] = data["frames"][n]
    for i, train in enumerate(trains.T.tolist()):
        mapped["0"][i].set_attributes(model_attributes={"spikes": train})

    def set_bias(i: int, bias: list[float]) -> None:
        for neuron, value in zip(mapped[str(i)], bias, strict=True):
            neuron.set_attributes(model_attributes={"bias": value})

    for i in range(1, len(network["layers"]) + 1):
        set_bias(i, [0.0] * len(data[f"bias{i}"]))
    out["energy"][n] = 0
    for step in range(network["steps"]):
        for i, layer in enumerate(network["layers"], start=1):
            if layer["depth"] == step:
                set_bias(i, data[f"bias{i}"].astype(float).tolist())
        found = chip.sim(
            1, timing_model=timing, processing_threads=1, spike_trace=True, potential_trace=True
        )
        out["energy"][n] += [found["energy"][part] for part in ("synapse", "soma", "network")]
        out[f"{timing}_s"][n, step] = found["sim_time"]
        for neuron in found["spike_trace"][0]:
            out[f"spikes{neuron.group_name}"][n, step, neuron.neuron_offset] = 1
    out["membrane"][n] = np.rint(np.array(found["potential_trace"][-1]) * 64)


def main(given: str, gave: str) -> None:
    if version("sanafe") != VERSION:
        sys.exit(f"found sanafe {version('sanafe')}, expected {VERSION}")
    import sanafe

    with np.load(given, allow_pickle=False) as file:
        data = {name: file[name] for name in file.files}
    network = json.loads(data["network"].tobytes())
    samples, steps, layers = len(data["frames"]), network["steps"], len(network["layers"])
    out: dict[str, Any] = {
        f"spikes{i}": np.zeros((samples, steps, len(data[f"core{i}"])), np.uint8)
        for i in range(1, layers + 1)
    }
    out |= {
        "simple_s": np.zeros((samples, steps)),
        "detailed_s": np.zeros((samples, steps)),
        "energy": np.zeros((samples, 3)),
    }
    out["membrane"] = np.zeros((samples, len(data[f"core{layers}"])), np.int64)
    chip = build(sanafe, data, network)
    for n in range(samples):
        for timing in ("simple", "detailed"):
            run(chip, data, network, n, timing, out)
    np.savez(gave, allow_pickle=False, **out)


if __name__ == "__main__":
    main(*sys.argv[1:])
