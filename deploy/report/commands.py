"""Commands that make a report's figures again."""

from pathlib import Path
from typing import Any

from tmkt.bundle import C_SOURCE, LAVA, NIR, ONNX, Bundle

OWN_IMAGES = ("digits",)  # data sets that bring their images


def commands(bundle: Bundle, data: Path | None) -> list[dict[str, str]]:
    """List each step of the pipeline with its command line.

    `recipe.toml` is the report's own; DATA stands for a folder that is not known.
    """
    origin: dict[str, Any] = bundle.manifest["origin"]
    folder = _folder(data)
    found: list[tuple[str, str]] = []
    if "recipe" in origin:
        found, wanted = _training(bundle, data)
        files = {"lava": LAVA, "nir": NIR, "onnx": ONNX, "c": C_SOURCE}
        targets = [target for target, name in files.items() if name in bundle.manifest["files"]]
        target = "all" if len(targets) == len(files) else ",".join(targets or ["nir"])
        found.append(
            (
                "export",
                f"tmkt export {'run' if found else 'START'} --target {target}{wanted} --out bundle",
            )
        )
    where = "bundle" if "recipe" in origin else quoted(str(bundle.path))
    found.append(("evaluate", f"tmkt evaluate {where} --data {folder} --json"))
    found.append(
        (
            "compare engines",
            f"tmkt parity {where} --engines simulator,onnx,lava,float --data {folder}",
        )
    )
    found.append(("place on cores", f"tmkt fit {where} --device loihi1 --data {folder}"))
    found.append(
        ("estimate energy", f"tmkt energy {where} --device loihi1 --device loihi2 --data {folder}")
    )
    return [{"what": what, "command": command} for what, command in found]


def _training(bundle: Bundle, data: Path | None) -> tuple[list[tuple[str, str]], str]:
    """Return the commands that train the run, and the option that tells `tmkt export` the bits."""
    origin: dict[str, Any] = bundle.manifest["origin"]
    recipe = origin["recipe"]
    train = train_command(origin["dataset"], bool(origin["images_trained_on"]), data)["command"]
    qat = recipe.get("qat", {}) if isinstance(recipe, dict) else {}
    if not qat.get("bits"):
        bits = [str(entry.get("bits")) for entry in bundle.manifest["quantisation"]]
        each = "".join(set(bits)) if len(set(bits)) == 1 else ",".join(bits)
        return [("train", train)], "" if each == "8" else f" --bits {each}"
    # recipe.toml tells the steps and the rest; a run on integers goes on from another, START
    steps = recipe["train"]["steps"]
    if qat["transfer"] == 0:
        return [], f" --bits {qat['bits']} --finetune {steps}"
    return [
        (
            "train on integers",
            train.replace("recipe.toml", f"START --qat {qat['bits']} --set train.steps={steps}"),
        )
    ], ""


def train_command(dataset: str, images: bool, data: Path | None) -> dict[str, str]:
    """Return the command that trains the run from the report's recipe."""
    static = " --static IMAGES" if images and dataset not in OWN_IMAGES else ""
    return {
        "what": "train",
        "command": f"tmkt train recipe.toml --data {_folder(data)}{static} --out run",
    }


def _folder(data: Path | None) -> str:
    return "DATA" if data is None else quoted(str(data))


def quoted(text: str) -> str:
    """Quote a word for a shell of any system."""
    return f'"{text}"' if " " in text else text
