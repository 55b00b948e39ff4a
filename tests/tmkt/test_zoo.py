"""The zoo gives the backbones that were published, or says in a line what is wrong."""

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from tmkt import cli
from tmkt.cli.tables.zoo import print_card, print_zoo
from tmkt.errors import InputError
from tmkt.networks import SpikingNetwork
from tmkt.recipe import NetworkRecipe
from tmkt.zoo.backbone import BLOCKS, load_backbone
from tmkt.zoo.card import MAX_ZOO_BYTES, ZOO, Card, load_card, names

NETWORK = NetworkRecipe(channels=[3, 4], strides=[2, 1], pools=[1, 2])
SHA = "0" * 64


def blocks() -> dict[str, torch.Tensor]:
    state = SpikingNetwork(NETWORK, (2, 8, 8), 5).state_dict()
    return {name: tensor for name, tensor in state.items() if name.startswith(BLOCKS)}


def card_of(content: bytes) -> dict[str, Any]:
    return {
        "format": "tmkt-backbone",
        "version": 1,
        "name": "tiny",
        "network": NETWORK.model_dump(),
        "input": {"height": 8, "width": 8, "bins": 4, "bin_us": 1000, "max_count": 1},
        "weights": {
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "parameters": 176,
        },
        "data": {
            "title": "Ten photographs",
            "licence": "CC BY 4.0",
            "source": "someone",
            "classes": 5,
            "images": 10,
            "sha256": SHA,
        },
        "training": {
            "command": "tmkt train tiny --static images",
            "seed": 0,
            "steps": 2,
            "recipe_sha256": SHA,
            "model_sha256": SHA,
            "machine": {
                "processor": None,
                "instructions": "AVX2",
                "system": "Linux x86_64",
                "versions": {"tmkt": "0.2"},
            },
        },
        "held_out": {"samples": 4, "accuracy": 0.5, "low": 0.15, "high": 0.85},
        "cost": {
            "bits": 8,
            "head_classes": 5,
            "neurons": 117,
            "weights": 200,
            "recordings": 4,
            "synops": 100.5,
            "spikes": 12.0,
            "chips": [
                {"device": "loihi1", "fits": True, "cores": 4, "head_cores": 1, "chips": 1},
                {"device": "x", "fits": False, "cores": None, "head_cores": None, "chips": None},
            ],
            "energy": [
                {
                    "device": "loihi1",
                    "estimator": "davies2018",
                    "energy_j": 1e-6,
                    "low_j": 1e-6,
                    "high_j": 2e-6,
                }
            ],
            "flash_bytes": 500,
            "head_flash_bytes": 90,
            "ram_bytes": 900,
        },
        "limits": ["has seen ten photographs"],
    }


def publish(folder: Path, content: bytes, card: dict[str, Any] | None = None) -> Path:
    (folder / "tiny.json").write_text(json.dumps(card or card_of(content)), encoding="utf-8")
    (folder / "tiny.safetensors").write_bytes(content)
    return folder


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    return publish(tmp_path, save(blocks()))


def test_a_backbone_is_loaded_as_it_was_published(tmp_path: Path) -> None:
    published = blocks()
    publish(tmp_path, save(published))
    assert names(tmp_path) == ["tiny"]
    found = load_backbone("tiny", tmp_path)
    assert (found.name, found.network, found.sensor) == ("tiny", NETWORK, (8, 8))
    assert found.tensors.keys() == published.keys()
    assert all(torch.equal(found.tensors[name], published[name]) for name in published)
    assert found.sha256 == load_card("tiny", tmp_path).weights.sha256


def test_a_network_takes_its_tensors(zoo: Path) -> None:
    net = SpikingNetwork(NETWORK, (2, 8, 8), 3)
    missing, unexpected = net.load_state_dict(load_backbone("tiny", zoo).tensors, strict=False)
    assert (missing, unexpected) == (["head.weight", "head.bias"], [])


def test_an_unknown_name_is_refused_with_the_nearest(zoo: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'tinny': unknown, known are tiny; did you mean 'tiny'"):
        load_backbone("tinny", zoo)
    with pytest.raises(InputError, match="unknown"):
        load_backbone("../tiny", zoo)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="the zoo is empty"):
        load_backbone("tiny", tmp_path / "empty")


@pytest.mark.parametrize("cut", [lambda c: c[:-1], lambda c: c + b"\0", lambda c: c[:-1] + b"\1"])
def test_other_bytes_than_those_published_are_refused(
    zoo: Path, cut: Callable[[bytes], bytes]
) -> None:
    path = zoo / "tiny.safetensors"
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(InputError, match=r"tiny\.safetensors: differs from what was published"):
        load_backbone("tiny", zoo)


def test_missing_weights_are_named(zoo: Path) -> None:
    (zoo / "tiny.safetensors").unlink()
    with pytest.raises(InputError, match=r"tiny\.safetensors: cannot be read"):
        load_backbone("tiny", zoo)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t: t.pop("blocks.0.conv.weight"), r"blocks\.0\.conv\.weight: None, expected"),
        (lambda t: t.update(more=torch.zeros(1)), r"more: .*, expected None"),
        (lambda t: t.update({"blocks.1.bn.bias": torch.zeros(5)}), r"\(5,\).*expected \(\(4,\)"),
        (lambda t: t.update({"blocks.1.bn.bias": torch.zeros(4).double()}), "float64"),
        (lambda t: t["blocks.1.bn.bias"].fill_(torch.nan), "has NaN or Inf"),
    ],
)
def test_weights_of_something_else_are_refused(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], object], complaint: str
) -> None:
    tensors = blocks()
    change(tensors)
    publish(tmp_path, save(tensors))
    with pytest.raises(InputError, match=rf"not the weights of its card.*{complaint}"):
        load_backbone("tiny", tmp_path)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    publish(tmp_path, pickle.dumps({"blocks.0.conv.weight": 1}))
    with pytest.raises(InputError, match="not the weights of its card"):
        load_backbone("tiny", tmp_path)


def test_a_network_that_asks_for_all_memory_is_refused(tmp_path: Path) -> None:
    content = save(blocks())
    card = card_of(content)
    card["network"] |= {"channels": [4096] * 40, "strides": [1] * 40, "pools": [1] * 40}
    publish(tmp_path, content, card)
    with pytest.raises(InputError, match="not the weights of its card"):
        load_backbone("tiny", tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.clear(),
        lambda c: c.update(version=2),
        lambda c: c.update(surprise=1),
        lambda c: c["weights"].update(bytes=MAX_ZOO_BYTES + 1),
        lambda c: c["weights"].update(sha256="abc"),
        lambda c: c["held_out"].update(accuracy=1.5),
        lambda c: c["network"].update(strides=[1]),
        lambda c: c.update(name="other"),
    ],
)
def test_a_damaged_card_is_refused_in_one_line(
    zoo: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    path = zoo / "tiny.json"
    card = json.loads(path.read_text())
    change(card)
    path.write_text(json.dumps(card))
    with pytest.raises(InputError, match=r"tiny\.json: .*; install tmkt again$"):
        load_backbone("tiny", zoo)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[" * 100_000, b"{}" + b" " * 2**19],
    ids=["empty", "no text", "deep", "long"],
)
def test_a_card_that_is_no_card_is_refused(zoo: Path, content: bytes) -> None:
    (zoo / "tiny.json").write_bytes(content)
    with pytest.raises(InputError, match=r"tiny\.json: damaged card"):
        load_card("tiny", zoo)


def test_the_table_and_the_card_fit_80_columns(
    zoo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    card = load_card("tiny", zoo).model_copy(update={"name": "backbone-s"})
    print_zoo([card])
    print_card(card)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    for said in (
        "50.0 %",  # held out
        "held out: accuracy, with the head of the pre-training, over photographs",
        "4 cores on one chip, 1 of them for the head",
        "x             does not fit",
        "unknown, AVX2, Linux x86_64",
        "1 µJ (1-2) by davies2018 for loihi1",
        "has seen ten photographs",
        "CC BY 4.0",
        card.weights.sha256,
    ):
        assert said in shown


def test_the_commands_show_what_ships(capsys: pytest.CaptureFixture[str]) -> None:
    cli.app(["zoo", "list", "--json"], standalone_mode=False)
    cards = json.loads(capsys.readouterr().out)["backbones"]
    assert [card["name"] for card in cards] == names()
    for card in cards:
        cli.app(["zoo", "show", card["name"], "--json"], standalone_mode=False)
        shown = capsys.readouterr().out
        assert Card.model_validate_json(shown).model_dump() == card
    with pytest.raises(InputError, match="unknown"):
        cli.app(["zoo", "show", "no-such-backbone"], standalone_mode=False)


def test_what_ships_is_whole_and_small() -> None:
    for name in names():
        load_backbone(name)
    assert sum(path.stat().st_size for path in ZOO.glob("*.safetensors")) <= MAX_ZOO_BYTES
