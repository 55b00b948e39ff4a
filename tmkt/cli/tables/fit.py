"""Terminal tables of a placement on a chip's cores."""

from typing import Any

from tmkt.cli.tables.table import table
from tmkt.console import say, significant


def print_fit(target: str, report: dict[str, Any]) -> None:
    """Print the cores of each layer, the verdict, the traffic between cores and a step's time."""
    columns = [
        "layer",
        "neurons",
        "cores",
        "tile (C x H x W)",
        "neurons a core",
        "synapse memory",
        "axons in",
        "decided by",
    ]
    title = f"{target} on {report['title']}: cores, and the use of each layer's fullest core"
    rows = [_layer_row(layer) for layer in report["layers"]]
    table(title, columns, rows, ["axons in", "tile (C x H x W)"])
    for line in (*_verdict(report), *_changes(report)):
        say(line)
    if report["traffic"] is not None:
        _print_traffic(report["traffic"])
    if report["step_time"] is not None:
        say(_step_time(report["step_time"], report["chips"]))


def print_fit_layers(target: str, report: dict[str, Any]) -> None:
    """Print the core of each layer on a chip whose cores run a layer each, and the verdict."""
    rows: list[list[object]] = [
        [
            layer["name"],
            " x ".join(map(str, layer["shape"])),
            layer["core"],
            f"{layer['kernel_words']:,}",
            f"{layer['neuron_words']:,}",
            "; ".join(layer["over"]),
        ]
        for layer in report["layers"]
    ]
    columns = ["layer", "shape", "core", "words of kernels", "words of neurons", "does not fit"]
    table(f"{target} on {report['title']}: a layer a core", columns, rows, ["shape"])
    if report["fits"]:
        say(f"Fits: {report['cores']} cores of {report['cores_per_chip']}.")
        return
    broken = [layer["name"] for layer in report["layers"] if layer["over"]]
    reasons = [f"{', '.join(broken)} cannot run on a core"] if broken else []
    if report["without_core"]:
        names = ", ".join(report["without_core"])
        reasons.append(f"no core is left for {names}: fewer layers, channels or smaller maps")
    say(f"Does not fit: {'; '.join(reasons)}.")


def _layer_row(layer: dict[str, Any]) -> list[object]:
    use = layer["use"]
    neurons, memory, axons = (
        f"{100 * use[name]['used'] / use[name]['limit']:.0f} %"
        for name in ("neurons", "synapse memory", "axons in")
    )
    decided = layer["binding_limit"] or ("speed" if (layer["cores"] or 0) > 1 else None)
    if layer["over"]:
        decided = "DOES NOT FIT: " + ", ".join(
            f"{name} {use[name]['used']} of {use[name]['limit']}" for name in layer["over"]
        )
    return [
        layer["name"],
        layer["neurons"],
        layer["cores"],
        layer["tile"],
        f"{use['neurons']['used']} ({neurons})",
        memory,
        axons,
        decided,
    ]


def _chips(count: int) -> str:
    return f"{count} chip" if count == 1 else f"{count} chips"


def _verdict(report: dict[str, Any]) -> list[str]:
    lines = []
    if report["cores"] is None:
        names = ", ".join(layer["name"] for layer in report["layers"] if layer["over"])
        lines.append(f"DOES NOT FIT: no core holds any part of {names}.")
    else:
        cores = f"{report['cores']} cores"
        if report["cores_without_sharing"] != report["cores"]:
            without = report["cores_without_sharing"] or "does not fit"
            cores += f" ({without} without sharing of weights)"
        placed = f"{cores} on {_chips(report['chips'])} of {report['cores_per_chip']}"
        if report["fits"]:
            lines.append(f"Fits: {placed}.")
        else:
            allowed = report["chips_allowed"]
            lines.append(f"DOES NOT FIT: {placed}, expected at most {allowed}.")
    if report["relay_neurons"]:
        lines.append(
            f"Not in it: {report['relay_neurons']:,} relay neurons for its branches, where synapses"
            " have no delays (Lava's convolutions)."
        )
    return lines


def _changes(report: dict[str, Any]) -> list[str]:
    """List the changes to the network that would make it fit."""
    if report["changes"]:
        changed = report["changed"]
        lines = ["Cheapest change that fits:" if changed else "A start, but not enough:"]
        for c in report["changes"]:
            lines.append(f"  {c['change']} ({100 * c['weights_lost']:.0f} % of the weights lost)")
        if changed:
            lines.append(f"  then {changed['cores']} cores on {_chips(changed['chips'])}")
        return lines
    if report["fits"]:
        return []
    return ["No single change to a layer makes it fit; try another --device, or a smaller network."]


def _print_traffic(traffic: dict[str, Any]) -> None:
    keys = ("messages_per_sample", "hops_per_sample", "between_chips_per_sample")
    rows: list[list[object]] = [
        [link["source"], link["target"], *(_whole(link[key]) for key in keys)]
        for link in traffic["links"]
    ]
    rows.append(["all", "", *(_whole(traffic[key]) for key in keys)])
    title = (
        f"Traffic of one inference of {traffic['steps']} steps, mean of {traffic['samples']}"
        " recordings"
    )
    table(title, ["from", "to", "messages", "hops", "messages between chips"], rows)
    core = traffic["busiest_core"]
    say(
        f"Busiest core: one of {core['layer']}, {core['synops_per_step']:,.0f} synaptic operations"
        f" a step (mean of all cores {core['mean_synops_per_step']:,.0f})."
    )


def _whole(number: float | None) -> str | None:
    return None if number is None else f"{number:,.0f}"


def _step_time(time: dict[str, Any], chips: int) -> str:
    condition = "mean over recordings and steps"
    if rates := time["assumed_rates"]:
        low, high = (f"{100 * rate:g} %" for rate in rates)
        condition = f"if {low} to {high} of neurons and input spike"
    left_out = "host input and output"
    if chips != 1:
        left_out += ", and the barrier between chips,"
    return (
        f"A step takes {significant(time['low_us'])} to {significant(time['high_us'])} µs"
        f" ({condition}); {left_out} not included."
    )
