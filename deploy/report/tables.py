"""Tables of a report's page."""

from typing import Any

from tmkt.console import joules, joules_with_interval, percent, significant
from tmkt.deploy.report.faults import fault_rows
from tmkt.deploy.report.quantisation import layer_table
from tmkt.deploy.report.ranges import COLUMNS
from tmkt.deploy.report.table import DASH, Table, count
from tmkt.deploy.report.training import metric

# Of more classes, the most frequent confusions are listed instead of a matrix.
MOST_CLASSES = 30
MOST_CONFUSIONS = 40


def tables(report: dict[str, Any]) -> dict[str, Table]:
    """Make all tables that the report has figures for, by id."""
    found = [
        _training(report["training"]),
        _network(report),
        _evaluation(report),
        _confusion(report),
    ]
    found += [
        _quantisation(report["quantisation"]),
        _ranges(report["ranges"]),
        _parity(report["parity"]),
        _energy(report["energy"]),
        _energy_layers(report["energy"]),
    ]
    found += [_ann(report["energy"]), *(_cores(fit) for fit in report["fit"])]
    return {table.id: table for table in found if table is not None}


def _training(training: dict[str, Any] | None) -> Table | None:
    if training is None or not training["curves"]:
        return None
    rows = []
    for name, line in training["curves"].items():
        values = [value for _, value in line]
        rows.append(
            [
                metric(name),
                *(f"{value:.4g}" for value in (values[0], min(values), max(values), values[-1])),
            ]
        )
    return Table("curves", ["metric", "first", "lowest", "highest", "last"], rows)


def _ranges(ranges: dict[str, Any] | None) -> Table | None:
    return None if ranges is None else Table("ranges", COLUMNS, ranges["layers"])


def _network(report: dict[str, Any]) -> Table:
    rates = {entry["name"]: entry for entry in report["rates"] or []}
    rows = []
    for layer in report["network"]:
        rate = rates.get(layer["name"])
        fired = DASH if rate is None or not layer["fires"] else percent(rate["rate"]) or DASH
        spikes = None if rate is None or not layer["fires"] else rate["spikes_per_sample"]
        shape = " x ".join(map(str, layer["shape"]))
        fed = "; ".join(layer["synapses"])
        synops = None if rate is None else rate["synops_per_sample"]
        rows.append(
            [
                layer["name"],
                fed,
                shape,
                count(layer["neurons"]),
                count(layer["weights"]),
                count(spikes),
                fired,
                count(synops),
            ]
        )
    columns = [
        "layer",
        "fed by",
        "shape",
        "neurons",
        "weights",
        "spikes",
        "spike rate",
        "synaptic operations",
    ]
    return Table("layers", columns, rows)


def _evaluation(report: dict[str, Any]) -> Table | None:
    found, classes = report["evaluation"], len(report["classes"])
    if found is None:
        return None
    tested = found["classes_tested"]
    rows = [
        ["recordings", count(found["samples"])],
        ["accuracy (95 % interval)", percent(found["accuracy"], found["accuracy_ci95"]) or DASH],
        ["spikes a recording", count(found["spikes_per_sample"])],
        ["synaptic operations a recording", count(found["synops_per_sample"])],
        ["neuron updates a recording", count(found["neuron_updates_per_sample"])],
    ]
    if len(tested) < classes:
        rows.insert(1, ["classes among them", f"{', '.join(tested)} (of {classes})"])
    rows += fault_rows(found["faults"])
    rows += [["warning", line.removeprefix("warning: ")] for line in found["warnings"]]
    return Table("evaluation", ["", "value"], rows)


def _confusion(report: dict[str, Any]) -> Table | None:
    if report["evaluation"] is None:
        return None
    classes, matrix = report["classes"], report["evaluation"]["confusion"]
    if len(classes) <= MOST_CLASSES:
        rows = [[name, *map(str, row)] for name, row in zip(classes, matrix, strict=True)]
        return Table("confusion", ["true class", *classes], rows)
    wrong = [(n, i, k) for i, row in enumerate(matrix) for k, n in enumerate(row) if n and i != k]
    wrong.sort(key=lambda entry: (-entry[0], entry[1], entry[2]))
    rows = [
        [classes[i], classes[k], str(n), str(sum(matrix[i]))] for n, i, k in wrong[:MOST_CONFUSIONS]
    ]
    return Table("confusions", ["true class", "predicted", "recordings", "of"], rows)


def _quantisation(entries: list[dict[str, Any]]) -> Table | None:
    columns, rows = layer_table(entries)
    return (
        Table(
            "quantisation",
            columns,
            [[DASH if cell is None else str(cell) for cell in row] for row in rows],
        )
        if columns
        else None
    )


def _parity(reports: list[dict[str, Any]] | None) -> Table | None:
    if reports is None:
        return None
    rows = []
    for report in reports:
        for engine in report["engines"]:
            compared, differing = engine["spikes_compared"], engine["spike_mismatches"]
            accuracy = percent(engine["accuracy"], engine["accuracy_ci95"]) or DASH
            agreement = (
                percent(engine["prediction_agreement"], engine["prediction_agreement_ci95"]) or DASH
            )
            p = f"{engine['mcnemar']['p']:.2g}"
            kind = "integers" if engine["exact"] else "float"
            rows.append(
                [
                    engine["name"],
                    kind,
                    count(report["samples"]),
                    accuracy,
                    agreement,
                    p,
                    count(compared),
                    count(differing),
                ]
            )
            rows[-1].append(count(engine["membrane_mismatches"]))
    columns = [
        "engine",
        "computes in",
        "recordings",
        "accuracy (95 %)",
        "same answer (95 %)",
        "McNemar's p",
    ]
    return Table(
        "parity", [*columns, "spikes compared", "spikes that differ", "read-outs that differ"], rows
    )


def divergence(engine: dict[str, Any]) -> Table:
    """Make the table of an engine's mismatches by layer."""
    rows = []
    for layer in engine["layers"]:
        for what, kind in (("spikes", "spike"), ("membranes", "membrane")):
            if compared := layer[f"{what}_compared"]:
                differing = layer[f"{kind}_mismatches"]
                rows.append(
                    [
                        layer["name"],
                        what,
                        count(compared),
                        count(differing),
                        f"{significant(100 * differing / compared)} %",
                    ]
                )
    return Table(
        f"divergence-{engine['name']}", ["layer", "what", "compared", "differ", "share"], rows
    )


def _cores(fit: dict[str, Any]) -> Table:
    rows = []
    for i, layer in enumerate(fit["layers"]):
        use = [
            f"{count(layer['use'][name]['used'])} of {count(layer['use'][name]['limit'])}"
            for name in ("neurons", "synapse memory", "axons in")
        ]
        decided = (
            "does not fit: " + ", ".join(layer["over"])
            if layer["over"]
            else layer["binding_limit"] or DASH
        )
        rows.append(
            [str(i + 1), layer["name"], count(layer["cores"]), layer["tile"] or DASH, *use, decided]
        )
    columns = [
        "no.",
        "layer",
        "cores",
        "tile (C x H x W)",
        "neurons",
        "synapse memory",
        "axons in",
        "decided by",
    ]
    return Table(f"cores-{fit['device']}", columns, rows)


def _energy(energy: dict[str, Any] | None) -> Table | None:
    if energy is None:
        return None
    rows = []
    for e in energy["estimates"]:
        interval = f"{joules(e['low_j'])} to {joules(e['high_j'])}"
        rows.append(
            [
                e["estimator"],
                e["device"],
                joules(e["energy_j"]) or DASH,
                interval,
                joules(e["sd_j"]) or DASH,
            ]
        )
    rows += [[e["estimator"], e["device"], "unknown", e["reason"], DASH] for e in energy["unknown"]]
    return Table(
        "energy",
        [
            "estimator",
            "device",
            "an inference",
            "interval of its assumptions",
            "sd over recordings",
        ],
        rows,
    )


def _energy_layers(energy: dict[str, Any] | None) -> Table | None:
    """Make the table by layer, of at most three estimators that know layers."""
    if energy is None or not energy["estimates"]:
        return None
    names = [layer["name"] for layer in energy["estimates"][0]["layers"]]
    same = [e for e in energy["estimates"] if [layer["name"] for layer in e["layers"]] == names][:3]
    rows = [
        [name, *(joules_with_interval(e["layers"][i]) for e in same)]
        for i, name in enumerate(names)
    ]
    return Table("energy-layers", ["layer", *(e["estimator"] for e in same)], rows)


def _ann(energy: dict[str, Any] | None) -> Table | None:
    if energy is None or not energy["ann"]:
        return None
    verdicts = {
        True: "spiking costs less",
        False: "the ANN costs less",
        None: "undecided: inside the interval",
    }
    rows = []
    for c in energy["ann"]:
        crossover = percent(c["crossover"], [c["crossover_low"], c["crossover_high"]]) or DASH
        rows.append(
            [
                c["comparison"],
                c["device"],
                joules_with_interval(c),
                percent(c["rate"]) or DASH,
                crossover,
                verdicts[c["spiking_wins"]],
            ]
        )
    return Table(
        "ann",
        [
            "comparison",
            "device",
            "the ANN's energy",
            "synapses that spikes reach",
            "crossover (interval)",
            "verdict",
        ],
        rows,
    )
