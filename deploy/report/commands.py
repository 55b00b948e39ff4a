"""The commands that make a report's figures again."""

from pathlib import Path
from typing import Any

from tmkt.bundle import C_SOURCE, LAVA, NIR, ONNX, Bundle

OWN_IMAGES = ("digits",)  # data sets that bring their images


def commands(bundle: Bundle, data: Path | None) -> list[dict[str, str]]:
    """What each step of the pipeline does and its command line. `recipe.toml` is the report's own; DATA stands for a folder not known."""
    origin: dict[str, Any] = bundle.manifest["origin"]
    folder = _folder(data)
    found = []
    if "recipe" in origin:
        found.append(("train", train_command(origin["dataset"], bool(origin["images_trained_on"]), data)["command"]))
        bits = {entry.get("bits") for entry in bundle.manifest["quantisation"]}
        wanted = f" --bits {min(bits)}" if len(bits) == 1 and bits != {8} else ""
        files = {"lava": LAVA, "nir": NIR, "onnx": ONNX, "c": C_SOURCE}
        targets = [target for target, name in files.items() if name in bundle.manifest["files"]]
        target = "all" if len(targets) == len(files) else ",".join(targets or ["nir"])
        found.append(("export", f"tmkt export run --target {target}{wanted} --out bundle"))
    where = "bundle" if "recipe" in origin else quoted(str(bundle.path))
    found.append(("evaluate", f"tmkt evaluate {where} --data {folder} --json"))
    found.append(("compare engines", f"tmkt parity {where} --engines simulator,onnx,lava,float --data {folder}"))
    found.append(("place on cores", f"tmkt fit {where} --device loihi1 --data {folder}"))
    found.append(("estimate energy", f"tmkt energy {where} --device loihi1 --device loihi2 --data {folder}"))
    return [{"what": what, "command": command} for what, command in found]


def train_command(dataset: str, images: bool, data: Path | None) -> dict[str, str]:
    """How the run is made from the report's recipe."""
    static = " --static IMAGES" if images and dataset not in OWN_IMAGES else ""
    return {"what": "train", "command": f"tmkt train recipe.toml --data {_folder(data)}{static} --out run"}


def _folder(data: Path | None) -> str:
    return "DATA" if data is None else quoted(str(data))


def quoted(text: str) -> str:
    """A word for a shell of any system."""
    return f'"{text}"' if " " in text else text
