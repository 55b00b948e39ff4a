"""Commands that make a report's figures again."""

import shlex
from pathlib import Path
from typing import Any

from tmkt.bundle import C_SOURCE, LAVA, NIR, ONNX, Bundle

OWN_IMAGES = ("digits",)  # data sets that bring their images
Steps = list[tuple[str, list[str]]]  # of the pipeline: what it does, and the words of its command


def commands(bundle: Bundle, data: Path | None) -> list[dict[str, str]]:
    """List each step of the pipeline with its command line, whose words are quoted for a shell:
    a bundle may come from a stranger.

    `recipe.toml` is the report's own; DATA stands for a folder that is not known.
    """
    origin: dict[str, Any] = bundle.manifest["origin"]
    recordings = ["--data", _folder(data)]
    found: Steps = []
    if "recipe" in origin:
        found, bits = _training(bundle, data)
        files = {"lava": LAVA, "nir": NIR, "onnx": ONNX, "c": C_SOURCE}
        targets = [target for target, name in files.items() if name in bundle.manifest["files"]]
        target = "all" if len(targets) == len(files) else ",".join(targets or ["nir"])
        run = "run" if found else "START"
        export = ["tmkt", "export", run, "--target", target, *bits, "--out", "bundle"]
        found.append(("export", export))
    where = "bundle" if "recipe" in origin else str(bundle.path)
    engines = ["--engines", "simulator,onnx,lava,float"]
    devices = ["--device", "loihi1", "--device", "loihi2"]
    found += [
        ("evaluate", ["tmkt", "evaluate", where, *recordings, "--json"]),
        ("compare engines", ["tmkt", "parity", where, *engines, *recordings]),
        ("place on cores", ["tmkt", "fit", where, "--device", "loihi1", *recordings]),
        ("estimate energy", ["tmkt", "energy", where, *devices, *recordings]),
    ]
    return [{"what": what, "command": shlex.join(words)} for what, words in found]


def _training(bundle: Bundle, data: Path | None) -> tuple[Steps, list[str]]:
    """Return the commands that train the run, and the option that tells `tmkt export` the bits."""
    origin: dict[str, Any] = bundle.manifest["origin"]
    recipe = origin["recipe"]
    images = bool(origin["images_trained_on"])
    qat = recipe.get("qat", {}) if isinstance(recipe, dict) else {}
    if not qat.get("bits"):
        words = _train(["recipe.toml"], origin["dataset"], images, data)
        bits = [str(entry.get("bits")) for entry in bundle.manifest["quantisation"]]
        each = "".join(set(bits)) if len(set(bits)) == 1 else ",".join(bits)
        return [("train", words)], [] if each == "8" else ["--bits", each]
    # recipe.toml tells the steps and the rest; a run on integers goes on from another, START
    steps, bits_of_qat = str(recipe["train"]["steps"]), str(qat["bits"])
    if qat["transfer"] == 0:
        return [], ["--bits", bits_of_qat, "--finetune", steps]
    start = ["START", "--qat", bits_of_qat, "--set", f"train.steps={steps}"]
    return [("train on integers", _train(start, origin["dataset"], images, data))], []


def train_command(dataset: str, images: bool, data: Path | None) -> dict[str, str]:
    """Return the command that trains the run from the report's recipe."""
    return {
        "what": "train",
        "command": shlex.join(_train(["recipe.toml"], dataset, images, data)),
    }


def _train(what: list[str], dataset: str, images: bool, data: Path | None) -> list[str]:
    static = ["--static", "IMAGES"] if images and dataset not in OWN_IMAGES else []
    return ["tmkt", "train", *what, "--data", _folder(data), *static, "--out", "run"]


def _folder(data: Path | None) -> str:
    return "DATA" if data is None else str(data)
