"""tmkt fit."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmkt import console
from tmkt.cli.options import DataOption, JsonOption, LimitOption, SplitOption
from tmkt.cli.steps import open_bundle, read_recordings
from tmkt.errors import InputError

if TYPE_CHECKING:
    from tmkt.bundle import Bundle
    from tmkt.deploy.fit.network import Network

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog="Example: tmkt fit bundles/nmnist --device loihi2 --data data/nmnist --limit 20"
)
def fit(
    target: Annotated[
        str, typer.Argument(help="A bundle, a run, a .nir file, or a recipe (name or .toml file).")
    ],
    device: Annotated[
        str, typer.Option("--device", help="loihi1, loihi2, or a device file ending in .toml.")
    ] = "loihi2",
    chips: Annotated[
        int | None,
        typer.Option(
            "--chips", min=1, help="At most so many chips [the largest system].", show_default=False
        ),
    ] = None,
    spread: Annotated[
        int | None,
        typer.Option(
            "--spread", min=1, help="Use up to so many cores, for speed.", show_default=False
        ),
    ] = None,
    data: DataOption = None,
    split: SplitOption = "test",
    limit: LimitOption = 20,
    json: JsonOption = False,
) -> None:
    """Place a network on a chip's cores: does it fit, and how fast would it be; exit code 1 if it
    does not fit.

    With --data, a bundle's spikes are counted: traffic between cores, and the time of a step.
    """
    from tmkt.deploy.fit.device import load_device
    from tmkt.deploy.fit.report import fit as run_fit

    chip = load_device(device)
    network, bundle = _open(target)
    frames = None
    if data is not None:
        if bundle is None:
            raise InputError(
                f"{target}: --data counts the spikes of integers, expected a bundle; make one with:"
                " tmkt export, or leave out --data"
            )
        frames, _ = read_recordings(bundle, data, split, limit, "fit")
    with console.progress("fit") as update:
        total = 0 if frames is None else len(frames)
        report = run_fit(
            network, chip, chips, spread, bundle, frames, lambda done: update(done, total, None)
        )
    if json:
        console.emit_json({"network": target, **report})
    else:
        _show(target, report)
    raise typer.Exit(0 if report["fits"] else 1)


def _open(target: str) -> "tuple[Network, Bundle | None]":
    """The network of whatever `target` is, and the bundle if it is one."""
    from tmkt import bundle as bundles
    from tmkt.deploy.fit.network import from_nir, from_program

    path = Path(target)
    if path.suffix == ".nir":
        return from_nir(path), None
    if (path / bundles.MANIFEST).is_file():
        bundle = open_bundle(path)
        return from_program(bundle.program), bundle
    if path.is_dir() or (not target.endswith(".toml") and len(path.parts) > 1):
        return _run_network(path), None
    return _recipe_network(target), None


def _run_network(path: Path) -> "Network":
    from tmkt.datasets.decoded import known_shape
    from tmkt.deploy.fit.network import from_recipe
    from tmkt.runs import INFO, RECIPE, load_run, load_run_recipe

    if not (path / RECIPE).is_file():
        found = "neither a bundle nor a run" if path.exists() else "no such file or folder"
        raise InputError(
            f"{path}: {found}, expected a bundle, a run, a .nir file or a recipe; see: tmkt recipes"
            " list"
        )
    recipe = load_run_recipe(path)
    if not (path / INFO).is_file():  # not finished: its network is decided all the same
        sensor, classes = known_shape(recipe.data)
        return from_recipe(recipe.network, (2, *sensor), classes)
    info = load_run(path).info
    return from_recipe(recipe.network, (2, *info["sensor"]), len(info["classes"]))


def _recipe_network(name: str) -> "Network":
    from tmkt.datasets.decoded import known_shape
    from tmkt.deploy.fit.network import from_recipe
    from tmkt.recipe import load_recipe
    from tmkt.train import RECIPES

    recipe = load_recipe(name, RECIPES)
    sensor, classes = known_shape(recipe.data)
    return from_recipe(recipe.network, (2, *sensor), classes)


def _show(target: str, report: dict[str, Any]) -> None:
    rows: list[list[object]] = [_row(layer) for layer in report["layers"]]
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
    console.table(
        f"{target} on {report['title']}: cores, and the use of each layer's fullest core",
        columns,
        rows,
    )
    print(_verdict(report))
    traffic, time = report["traffic"], report["step_time"]
    if traffic is not None:
        _show_traffic(traffic)
    if time is not None:
        rates = time["assumed_rates"]
        left_out = (
            "host input and output"
            if report["chips"] == 1
            else "host input and output, and the barrier between chips,"
        )
        condition = (
            f"if {100 * rates[0]:g} % to {100 * rates[1]:g} % of neurons and input spike"
            if rates
            else "mean over recordings and steps"
        )
        print(
            f"A step takes {time['low_us']:.3g} to {time['high_us']:.3g} µs ({condition});"
            f" {left_out} not included."
        )


def _row(layer: dict[str, Any]) -> list[object]:
    use = layer["use"]
    shares = [
        f"{100 * use[name]['used'] / use[name]['limit']:.0f} %"
        for name in ("neurons", "synapse memory", "axons in")
    ]
    neurons = f"{use['neurons']['used']} ({shares[0]})"
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
        neurons,
        *shares[1:],
        decided,
    ]


def _chips(count: int) -> str:
    return f"{count} chip" if count == 1 else f"{count} chips"


def _verdict(report: dict[str, Any]) -> str:
    lines = []
    if report["cores"] is None:
        names = ", ".join(layer["name"] for layer in report["layers"] if layer["over"])
        lines.append(f"DOES NOT FIT: no core holds any part of {names}.")
    else:
        cores = f"{report['cores']} cores"
        if report["cores_without_sharing"] != report["cores"]:
            cores += (
                f" ({report['cores_without_sharing'] or 'does not fit'} without sharing of weights)"
            )
        start = "Fits" if report["fits"] else "DOES NOT FIT"
        of = f"{_chips(report['chips'])} of {report['cores_per_chip']}"
        lines.append(
            f"{start}: {cores} on {of}"
            + ("." if report["fits"] else f", expected at most {report['chips_allowed']}.")
        )
    if report["relay_neurons"]:
        lines.append(
            f"Not in it: {report['relay_neurons']:,} relay neurons for its branches, where synapses"
            " have no delays (Lava's convolutions)."
        )
    if report["changes"]:
        lines.append(
            "Cheapest change that fits:" if report["changed"] else "A start, but not enough:"
        )
        lines += [
            f"  {c['change']} ({100 * c['weights_lost']:.0f} % of the weights lost)"
            for c in report["changes"]
        ]
        if report["changed"]:
            lines.append(
                f"  then {report['changed']['cores']} cores on {_chips(report['changed']['chips'])}"
            )
    elif not report["fits"]:
        lines.append(
            "No single change to a layer makes it fit; try another --device, or a smaller network."
        )
    return "\n".join(lines)


def _whole(number: float | None) -> str | None:
    return None if number is None else f"{number:,.0f}"


def _show_traffic(traffic: dict[str, Any]) -> None:
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
    console.table(title, ["from", "to", "messages", "hops", "messages between chips"], rows)
    core = traffic["busiest_core"]
    print(
        f"Busiest core: one of {core['layer']}, {core['synops_per_step']:,.0f} synaptic operations"
        f" a step (mean of all cores {core['mean_synops_per_step']:,.0f})."
    )
