"""Emulator brian2-loihi 0.5.2 in a process of its own: runs a chain of dense layers, and writes
what it recorded as NIRData, by nir's own writer.

    python tests/support/brian_process.py JOB.json OUT.nir

JOB holds `spikes` [N, T, inputs] and `layers`: name, weight [N_out, N_in], threshold, voltage_decay
and current_decay of each.
"""

import json
import sys

import nir
import numpy as np
from brian2 import prefs, start_scope
from brian2_loihi import (
    LoihiNetwork,
    LoihiNeuronGroup,
    LoihiSpikeGeneratorGroup,
    LoihiSpikeMonitor,
    LoihiStateMonitor,
    LoihiSynapses,
    synapse_sign_mode,
)

MORE = 4  # steps after the input's last, in which the spikes under way arrive
prefs.codegen.target = "numpy"


def run(layers, spikes):
    """Run one sample; give spikes and membranes of every layer, [T + MORE, neurons]."""
    start_scope()
    steps = len(spikes) + MORE
    times, indices = np.nonzero(spikes)
    objects = [LoihiSpikeGeneratorGroup(spikes.shape[1], indices, times)]
    monitors = []
    for layer in layers:
        weight = np.array(layer["weight"])
        group = LoihiNeuronGroup(
            len(weight),
            threshold_v_mant=layer["threshold"],
            decay_v=layer["voltage_decay"],
            decay_I=layer["current_decay"],
        )
        source = next(o for o in reversed(objects) if not isinstance(o, LoihiSynapses))
        synapses = LoihiSynapses(source, group, sign_mode=synapse_sign_mode.MIXED)
        target, origin = np.nonzero(np.ones_like(weight))
        synapses.connect(i=origin, j=target)
        synapses.w = weight[target, origin]
        objects += [synapses, group]
        monitors.append((LoihiSpikeMonitor(group), LoihiStateMonitor(group, "v")))
    network = LoihiNetwork(*objects, *(m for pair in monitors for m in pair))
    network.run(steps)
    found = []
    for layer, (fired, state) in zip(layers, monitors, strict=True):
        grid = np.zeros((steps, len(layer["weight"])), bool)
        grid[np.rint(np.asarray(fired.t)).astype(int), np.asarray(fired.i)] = True
        found.append((grid, np.asarray(state.v).T.astype(np.int64)))
    return found


def main(job_path, out):
    with open(job_path) as file:
        job = json.load(file)
    samples = [run(job["layers"], np.array(spikes)) for spikes in job["spikes"]]
    nodes = {}
    for i, layer in enumerate(job["layers"]):
        spikes, v = (np.stack([sample[i][k] for sample in samples]) for k in (0, 1))
        gridded = nir.TimeGriddedData(spikes, 1e-3)
        observables = {
            "spikes": gridded.to_event(int(spikes.sum((1, 2)).max())),
            "v": nir.TimeGriddedData(v, 1e-3),
        }
        nodes[layer["name"]] = nir.NIRNodeData(observables)
    nir.write_data(out, nir.NIRGraphData(nodes))


if __name__ == "__main__":
    main(*sys.argv[1:])
