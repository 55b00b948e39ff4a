"""The command line. A command imports the stage that it runs, so that `tmkt --help` stays quick; nothing else in tmkt/ imports a stage."""

import io
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmkt import __version__, console
from tmkt.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tmkt.bundle import Bundle

app = typer.Typer(
    help="Train spiking networks for event cameras with the help of images, export them as integers, and prove what they compute.",
    epilog="Start with: tmkt demo",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
recipes_app = typer.Typer(help="List the training recipes, show one.", rich_markup_mode=None, no_args_is_help=True)
data_app = typer.Typer(help="Make recordings.", rich_markup_mode=None, no_args_is_help=True)
app.add_typer(recipes_app, name="recipes")
app.add_typer(data_app, name="data")

DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of the event recordings.", show_default=False)]
SplitOption = Annotated[str, typer.Option("--split", help="test: recordings that were not trained on; train: those that were; all.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many recordings, drawn once for all.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output instead of a table.")]


def main() -> None:
    """Entry point: exit code 0 done, 1 a check failed, 2 wrong use or bad input, 130 interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidied up like Ctrl-C
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show µ still gets its answer
    try:
        code = app(standalone_mode=False)
        if code == 130:  # how typer gives KeyboardInterrupt back
            console.error("interrupted")
    except InputError as error:
        console.error(str(error))
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        console.error("interrupted")
        code = 130
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # `tmkt` alone: the message is the help; typer keeps the class to itself
            console.note(error.format_message())
        else:
            console.error(f"{error.format_message().rstrip('.')}; see: tmkt --help")
        code = 2
    except BrokenPipeError:
        sys.stderr.close()
        code = 1
    except MemoryError:
        console.error("not enough memory; use --limit, or a smaller batch, network or number of bins, or free some")
        code = 2
    except OSError as error:
        console.error(f"{error.filename or 'file'}: {error.strerror or error}; check the path, its permissions and the free space")
        code = 2
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"tmkt {__version__}")
        raise typer.Exit


@app.command(epilog="Example: tmkt train nmnist-fewshot --data data/nmnist --static data/mnist --out runs/nmnist --set train.seed=1")
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (tmkt recipes list) or a .toml file.")],
    data: DataOption = None,
    static: Annotated[Path | None, typer.Option("--static", help="Folder of the images.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write the run to [runs/RECIPE].", show_default=False)] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="section.key=value, over the recipe's; repeatable.", show_default=False)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")] = False,
) -> None:
    """Train a network: a run with its weights, metrics and recipe."""
    from tmkt.recipe import load_recipe
    from tmkt.train import RECIPES

    chosen = load_recipe(recipe, RECIPES, settings)
    path = out or Path("runs") / Path(recipe).stem
    _train(chosen, _need_data(data, "train"), static, path, resume)
    console.note(f"Next: tmkt export {path} --target all --out bundles/{path.name}")


@app.command(epilog="Example: tmkt export runs/nmnist --target all --out bundles/nmnist")
def export(
    run: Annotated[Path, typer.Argument(help="A finished run.")],
    target: Annotated[str, typer.Option("--target", help="all, or a list of lava, nir, onnx with commas.")] = "all",
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write the bundle to [bundles/RUN].", show_default=False)] = None,
    bits: Annotated[int, typer.Option("--bits", min=2, max=8, help="Bits of a weight.")] = 8,
    json: JsonOption = False,
) -> None:
    """Quantise a run: a bundle with the integer program and the files that other programs read."""
    path = out or Path("bundles") / run.resolve().name
    bundle = _export(run, path, target, bits)
    if json:
        console.emit_json({"bundle": str(path), "files": bundle.manifest["files"], "quantisation": bundle.manifest["quantisation"]})
        return
    report = bundle.manifest["quantisation"]
    console.table("Quantisation", list(report[0]), [[f"{v:.3g}" if isinstance(v, float) else v for v in row.values()] for row in report])
    console.table(f"Bundle {path}", ["file", "bytes"], [[name, entry["bytes"]] for name, entry in bundle.manifest["files"].items()])
    console.note(f"Next: tmkt parity {path} --data DIR")


@app.command(epilog="Example: tmkt evaluate bundles/nmnist --engine simulator --data data/nmnist --json")
def evaluate(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    engine: Annotated[str, typer.Option("--engine", help="simulator, onnx, lava or float.")] = "simulator",
    data: DataOption = None,
    split: SplitOption = "test",
    limit: LimitOption = None,
    json: JsonOption = False,
) -> None:
    """Run a bundle on recordings: accuracy, spikes, synaptic operations, time."""
    from tmkt.deploy.engines import open_engine
    from tmkt.deploy.evaluate import evaluate as run_evaluation

    opened = _open(bundle)
    runner = open_engine(engine, opened)
    frames, labels = _recordings(opened, data, split, limit, "evaluate")
    with console.progress("evaluate") as update:
        report = run_evaluation(opened, runner, frames, labels, lambda done: update(done, len(frames), None)).to_json()
    report = {**report, "split": split, "bundle": str(bundle), "classes": opened.classes}
    if json:
        console.emit_json(report)
        return
    console.evaluation_table(report)


@app.command(epilog="Example: tmkt parity bundles/nmnist --engines simulator,onnx,lava,float --data data/nmnist --limit 100")
def parity(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    engines: Annotated[str, typer.Option("--engines", help="Engines to compare, with commas.")] = "simulator,onnx,float",
    data: DataOption = None,
    split: SplitOption = "test",
    limit: LimitOption = 100,
    max_drop: Annotated[float, typer.Option("--max-drop", min=0.0, help="Points of accuracy that the integers may lose against float.")] = 0.5,
    json: JsonOption = False,
) -> None:
    """Check that engines compute the same spikes; exit code 1 if they do not."""
    opened = _open(bundle)
    frames, labels = _recordings(opened, data, split, limit, "parity")
    report = _parity(opened, _names(engines), frames, labels, max_drop)
    if json:
        console.emit_json({**report, "split": split, "bundle": str(bundle)})
    else:
        console.parity_table(report)
    raise typer.Exit(0 if report["passed"] else 1)


@app.command(epilog="Example: tmkt energy bundles/nmnist --device loihi1 --data data/nmnist --limit 100")
def energy(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    device: Annotated[str, typer.Option("--device", help="The chip to estimate for.")] = "loihi1",
    data: DataOption = None,
    split: SplitOption = "test",
    limit: LimitOption = 100,
    json: JsonOption = False,
) -> None:
    """Estimate the energy of an inference from counted spikes, with interval, inclusions and exclusions."""
    opened = _open(bundle)
    frames, _ = _recordings(opened, data, split, limit, "energy")
    report = _energy(opened, device, frames)
    if json:
        console.emit_json({**report, "split": split, "bundle": str(bundle)})
    else:
        console.energy_table(report)


@app.command(epilog="Example: tmkt demo --out demo")
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the data, the run and the bundle.")] = Path("demo"),
    limit: Annotated[int, typer.Option("--limit", min=1, help="Recordings that Lava runs; it is the slow one.")] = 100,
) -> None:
    """Run the whole pipeline on real handwritten digits seen by a simulated event camera: no download, under 3 minutes."""
    from tmkt.bundle import LAVA, NIR, ONNX
    from tmkt.datasets.digits import DEMO_PER_CLASS, simulate_digits
    from tmkt.deploy.engines.lava import INSTALL_HINT, installed
    from tmkt.recipe import load_recipe
    from tmkt.runs import forget_run
    from tmkt.train import RECIPES

    data, run_path, bundle_path = out / "data", out / "run", out / "bundle"
    console.note("1/5 Event recordings of handwritten digits, by the event-camera simulation")
    with console.progress("simulate") as update:
        simulate_digits(data, DEMO_PER_CLASS, 0, lambda done: update(done, 10 * DEMO_PER_CLASS, None))
    console.note("2/5 Training with TMKT: a few recordings per class, and images of other digits")
    forget_run(run_path)
    run = _train(load_recipe("digits", RECIPES), data, None, run_path, resume=False)
    console.note("3/5 Export: 8-bit integers, and files for Lava, NIR and ONNX")
    opened = _export(run.path, bundle_path, "all", 8)
    frames, labels = _recordings(opened, data, "test", None, "demo")
    console.note(
        f"4/5 Parity: every engine on {len(frames)} recordings that were not trained on" + (f", Lava on {limit} of them" if installed() else "")
    )
    reports = [_parity(opened, ["float", "simulator", "onnx"], frames, labels, 0.5)]
    if installed():
        reports.append(_parity(opened, ["lava"], *_recordings(opened, data, "test", limit, "demo"), 0.5))
    console.note("5/5 Energy")
    estimates = _energy(opened, "loihi1", frames)
    console.energy_table(estimates)
    console.parity_table(*reports)
    places: list[list[object]] = [["recordings", data], ["run", run_path], ["bundle", bundle_path]]
    places += [[f"  {what}", bundle_path / name] for what, name in (("Lava", LAVA), ("NIR", NIR), ("ONNX", ONNX))]
    central = estimates["estimates"][0]
    interval = f"{console.joules(central['low_j'])} to {console.joules(central['high_j'])}"
    places.insert(0, ["energy per inference", f"{console.joules(central['energy_j'])} ({interval}) on {central['device']}, more above"])
    console.table("And", ["what", "figure or path"], places)
    if not installed():
        console.note(f"Lava was left out: {INSTALL_HINT}")
    console.note(f"Look closer: tmkt evaluate {bundle_path} --data {data}; your own recordings: tmkt train nmnist-fewshot --data DIR --static DIR")
    report = {"passed": all(r["passed"] for r in reports)}
    raise typer.Exit(0 if report["passed"] else 1)


@recipes_app.command("list", epilog="Example: tmkt recipes list")
def recipes_list() -> None:
    """The recipes that come with tmkt."""
    from tmkt.recipe import load_recipe
    from tmkt.train import RECIPES

    rows: list[list[object]] = []
    for path in sorted(RECIPES.glob("*.toml")):
        r = load_recipe(path.stem, RECIPES)
        rows.append([path.stem, r.data.name, r.method.name, r.data.shots, r.train.steps])
    console.table("Recipes", ["name", "data set", "method", "recordings per class", "steps"], rows)


@recipes_app.command("show", epilog="Example: tmkt recipes show nmnist-fewshot > mine.toml")
def recipes_show(name: Annotated[str, typer.Argument(help="A recipe's name or file.")]) -> None:
    """A recipe with every key resolved, as TOML."""
    from tmkt.recipe import dump_recipe, load_recipe
    from tmkt.train import RECIPES

    print(dump_recipe(load_recipe(name, RECIPES)), end="")


@data_app.command("simulate", epilog="Example: tmkt data simulate digits-events --per-class 50")
def data_simulate(
    out: Annotated[Path, typer.Argument(help="Folder to write Train/<digit>/<index>.bin to.")],
    per_class: Annotated[int, typer.Option("--per-class", min=1, max=170, help="Recordings per digit.")] = 50,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
) -> None:
    """Record scikit-learn's handwritten digits with the event-camera simulation."""
    from tmkt.datasets.digits import simulate_digits

    with console.progress("simulate") as update:
        simulate_digits(out, per_class, seed, lambda done: update(done, 10 * per_class, None))
    console.note(f"Next: tmkt train digits --data {out}")


@app.command(epilog="Example: tmkt doctor --json")
def doctor(json: JsonOption = False) -> None:
    """What is installed, what is missing, and what to do about it."""
    from tmkt.deploy.doctor import examine

    findings = examine()
    if json:
        console.emit_json({"findings": findings})
    else:
        console.table("tmkt doctor", ["part", "found", "what to do"], [[f["part"], f["found"] or "not found", f["advice"] or ""] for f in findings])
    raise typer.Exit(1 if any(f["required"] and not f["found"] for f in findings) else 0)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _need_data(data: Path | None, command: str) -> Path:
    if data is None:
        raise InputError(f"{command}: no --data given, expected the folder of the event recordings; add --data DIR")
    if not data.is_dir():
        raise InputError(f"{data}: no such folder, expected the event recordings; check --data")
    return data


def _train(recipe: Any, data: Path, static: Path | None, out: Path, resume: bool) -> Any:
    from tmkt.runs import CHECKPOINT, INFO

    try:
        from tmkt.train.trainer import train as run_training
    except ModuleNotFoundError as error:
        raise InputError(f"train: {error.name} is not installed; pip install 'tmkt[train]'") from None
    finished = (out / INFO).is_file()
    try:
        with console.progress("train") as update:
            run = run_training(recipe, data, static, out, resume, lambda done, total, m: update(done, total, {k: m[k] for k in ("loss", "accuracy")}))
    except KeyboardInterrupt:
        if not (out / CHECKPOINT).is_file():
            raise
        console.error(f"interrupted; {out} keeps what was learned, go on with the same command and --resume")
        raise SystemExit(130) from None
    if finished:
        console.note(f"{out}: this training was finished before; nothing was trained now")
    test = run.info["test"]
    console.note(f"Float network on {test['samples']} recordings that were not trained on: {console.percent(test['accuracy'])}")
    return run


def _export(run: Path, out: Path, target: str, bits: int) -> "Bundle":
    from tmkt.runs import load_run

    opened = load_run(run)
    try:
        from tmkt.export.export import export_run
    except ModuleNotFoundError as error:
        raise InputError(f"export: {error.name} is not installed; pip install 'tmkt[export]'") from None
    return export_run(opened, out, _names(target), bits, opened.load_calibration())


def _open(path: Path) -> "Bundle":
    from tmkt.bundle import load

    return load(path)


def _recordings(bundle: "Bundle", data: Path | None, split: str, limit: int | None, command: str) -> "tuple[NDArray[np.uint8], NDArray[np.int64]]":
    from tmkt.datasets import dataset, load_frames
    from tmkt.datasets.splits import choose, draw, from_ranges

    origin = bundle.manifest["origin"]
    found = dataset(origin["dataset"]).find_recordings(_need_data(data, command))
    chosen = draw(choose(found, split, origin["trained_on"], from_ranges(origin["images_trained_on"])), limit)
    with console.progress("read") as update:
        return load_frames(chosen, bundle.contract, lambda done: update(done, len(chosen), None))


def _parity(bundle: "Bundle", engines: list[str], frames: "NDArray[np.uint8]", labels: "NDArray[np.int64]", max_drop: float) -> dict[str, Any]:
    from tmkt.deploy.parity import parity as run_parity

    with console.progress("parity") as update:
        return run_parity(bundle, engines, frames, labels, max_drop, update)


def _energy(bundle: "Bundle", device: str, frames: "NDArray[np.uint8]") -> dict[str, Any]:
    from tmkt.deploy.energy import energy as run_energy

    with console.progress("energy") as update:
        return run_energy(bundle, device, frames, lambda done: update(done, len(frames), None))
