"""Start of a training from a trained network: `train.init`."""

from collections.abc import Sequence
from pathlib import Path

from tmkt.datasets.decoded import contract_of
from tmkt.datasets.seen import of_another_folder
from tmkt.datasets.splits import from_ranges
from tmkt.datasets.types import Recording
from tmkt.errors import InputError, nearest
from tmkt.networks import SpikingNetwork
from tmkt.recipe import Recipe, TrainRecipe
from tmkt.runs import RECIPE, Run, load_run
from tmkt.zoo import card
from tmkt.zoo.backbone import TrainedBackbone, backbone_of, load_backbone


def load_init(recipe: Recipe) -> TrainedBackbone | None:
    """Load what `train.init` names, a run or a backbone of the zoo; None where it is empty.

    Raises InputError where it names neither, and where its weights are not those of
    `train.init_sha256`.
    """
    if not recipe.train.init:
        return None
    run = _run_of(recipe.train)
    found = load_backbone(recipe.train.init) if run is None else backbone_of(run)
    if recipe.train.init_sha256 not in ("", found.sha256):
        raise InputError(
            f"{_where(recipe.train)}: its weights have SHA-256 {found.sha256[:12]}..., expected"
            f" {recipe.train.init_sha256[:12]}... as train.init_sha256 says; give the network that"
            " the recipe was made for, or leave train.init_sha256 out"
        )
    return found


def with_init(recipe: Recipe, backbone: TrainedBackbone) -> Recipe:
    """Put the network and the hash of a backbone into the recipe that starts from it.

    Raises InputError where the recipe describes another network. Its input may have another size,
    and its time another number of steps.
    """
    network = recipe.network if recipe.network.name != "init" else backbone.network
    for key, value in backbone.network:
        if (found := getattr(network, key)) != value:
            raise InputError(
                f"{_where(recipe.train)}: was trained with network.{key} = {value!r}, the recipe"
                f" has {found!r}, expected the same; leave out the recipe's [network] section, or"
                " choose another train.init"
            )
    train = recipe.train.model_copy(update={"init_sha256": backbone.sha256})
    return recipe.model_copy(update={"network": network, "train": train})


def load_blocks(net: SpikingNetwork, backbone: TrainedBackbone, recipe: TrainRecipe) -> None:
    """Give a network the blocks of a backbone; its head stays as it was drawn.

    Raises InputError for a block that depends on the input's size where the two differ, as the
    dense one of scnn does.
    """
    own = net.state_dict()
    for name, tensor in backbone.tensors.items():
        if tensor.shape != own[name].shape:
            found, wanted = ("x".join(map(str, one.shape)) for one in (tensor, own[name]))
            (rows, columns), (height, width) = backbone.sensor, net.input_shape[1:]
            raise InputError(
                f"{_where(recipe)}: its {name} is {found}, for inputs of {columns}x{rows}, expected"
                f" {wanted}, for {width}x{height}; set data.width={columns} and data.height={rows}"
            )
    net.load_state_dict({**own, **backbone.tensors})


def seen_by_init(
    recipe: Recipe, recordings: Sequence[Recording]
) -> tuple[set[Recording], set[str]]:
    """Find what the run that a training starts from has seen, so that it is not tested.

    Gives those of `recordings` that it was trained or validated on, or on an image of, and all
    instances that it has seen. Of a run on another data set these are only instances that are
    recorded here, too. Both are empty without `train.init`, and for a backbone of the zoo, of which
    that is not known.
    """
    run = _run_of(recipe.train) if recipe.train.init else None
    if run is None:
        return set(), set()
    info, data = run.info, run.recipe.data
    names = {*info["trained_on"], *(info.get("validated_on") or ())}
    seen = names | from_ranges(info["images_trained_on"])
    others: set[Recording] = set()
    if digests := info.get("frames_seen"):
        contract = contract_of(data, tuple(info["sensor"]))
        others = of_another_folder(recordings, names, digests, contract)
    known = {r for r in recordings if r.instance in seen and r not in others}
    if data.name == recipe.data.name:
        return known, seen - {r.instance for r in others} | {r.instance for r in known}
    return known, {r.instance for r in known}


def _run_of(recipe: TrainRecipe) -> Run | None:
    """Open the run that `train.init` names; None where it names a backbone of the zoo."""
    path = Path(recipe.init)
    if (path / RECIPE).is_file():
        return load_run(path)
    known = card.names()
    if recipe.init not in known:
        listed = ", ".join(known) or "none yet"
        raise InputError(
            f"{_where(recipe)}: neither the folder of a finished run nor a backbone that comes with"
            f" tmkt ({listed}){nearest(recipe.init, known)}; make one with: tmkt train RECIPE --out"
            " RUN"
        )
    return None


def _where(recipe: TrainRecipe) -> str:
    return f"train.init = {recipe.init!r}"
