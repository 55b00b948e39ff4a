from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tmkt.datasets.mnist import load_images
from tmkt.datasets.nmnist import find_recordings
from tmkt.datasets.reading import load_frames
from tmkt.errors import InputError
from tmkt.events.frames import InputContract
from tmkt.networks import SpikingNetwork
from tmkt.recipe import MethodRecipe, NetworkRecipe, load_recipe
from tmkt.train import RECIPES
from tmkt.train.methods.base import Batch, Losses, Method, Setting
from tmkt.train.methods.ckd import phase_weight
from tmkt.train.methods.registry import METHODS
from tmkt.train.objectives import ModalityGuidance, alignment, classification, distillation

STEPS, CLASSES = 5, 3
TWO_STREAMS = ("tmkt", "kt", "ckd")


def _value(tensor: torch.Tensor) -> float:
    return float(tensor.detach())


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Batch:
    """Two recordings of each of three digits, and an image for each."""
    recordings = find_recordings(shared_data / "nmnist")
    chosen = [
        recording
        for label in range(CLASSES)
        for recording in [r for r in recordings if r.label == label][:2]
    ]
    frames, labels = load_frames(chosen, InputContract((34, 34), STEPS, 63_200, 1))
    images = load_images(shared_data / "mnist")
    shown = [
        images.images[np.flatnonzero(images.labels == label)[i]] for i, label in enumerate(labels)
    ]
    still = F.pad(torch.from_numpy(np.stack(shown)).float() / 255, (3, 3, 3, 3))[:, None].expand(
        -1, 2, -1, -1
    )
    return Batch(torch.from_numpy(frames).float().transpose(0, 1), still, torch.from_numpy(labels))


def _batch(still: bool = True) -> Batch:
    rng = np.random.default_rng(0)
    events = torch.from_numpy((rng.random((STEPS, 8, 2, 16, 16)) < 0.2).astype(np.float32))
    images = (
        rng.random((8, 2, 16, 16), np.float32)
        if still
        else rng.random((STEPS, 8, 2, 16, 16), np.float32)
    )
    return Batch(events, torch.from_numpy(images), torch.arange(8) % CLASSES)


def _network() -> SpikingNetwork:
    torch.manual_seed(0)
    return SpikingNetwork(
        NetworkRecipe(channels=[4, 4], strides=[2, 1], pools=[1, 2]), (2, 16, 16), CLASSES
    )


def _method(net: SpikingNetwork, folder: Path, batch: Batch, **recipe: Any) -> Method:
    method = METHODS[recipe["name"]](
        MethodRecipe(**{"teacher_steps": 3, "teacher_width": 2, **recipe}), net, STEPS
    )
    method.prepare(Setting(lambda rng, step: batch, folder, 0, b"data", torch.device("cpu")))  # noqa: ARG005
    return method


def _losses(
    folder: Path, progress: float = 0.0, batch: Batch | None = None, **recipe: Any
) -> tuple[SpikingNetwork, Method, Losses]:
    net, batch = _network(), batch or _batch()
    method = _method(net, folder, batch, **recipe)
    return net, method, _exchanged_losses(method, net, batch, progress)


def _exchanged_losses(
    method: Method, net: SpikingNetwork, batch: Batch, progress: float, seed: int = 0
) -> Losses:
    """Compute a step's losses as a training does."""
    rng = np.random.default_rng(seed)
    return method.losses(net, method.exchange(batch, rng, progress), rng, progress)


def _running(net: nn.Module) -> dict[str, torch.Tensor]:
    return {
        key: value
        for key, value in net.state_dict().items()
        if "running" in key or "tracked" in key
    }


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("still", [True, False], ids=["still", "simulated"])
def test_every_method_moves_all_of_the_network_and_of_its_own_parts(
    name: str, still: bool, tmp_path: Path
) -> None:
    net, method, losses = _losses(tmp_path, 0.4, _batch(still), name=name)
    losses.total.backward()
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0
        for p in [*net.parameters(), *method.parameters()]
    )
    assert losses.logits.shape == (STEPS, 8, CLASSES)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_learns_real_recordings_and_images(
    name: str, real: Batch, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net = SpikingNetwork(
        NetworkRecipe(channels=[8, 8], strides=[2, 1], pools=[2, 2]), (2, 34, 34), 10
    )
    method = _method(net, tmp_path, real, name=name)
    optimizer = torch.optim.AdamW([*net.parameters(), *method.parameters()], lr=5e-3)
    found = []
    for step in range(12):
        progress = 0.0 if name == "finetune" else step / 12
        losses = _exchanged_losses(method, net, real, progress, step)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        part = losses.parts.get("events", losses.total)
        found.append(_value(part.detach()))
    assert found[-1] < found[0]


@pytest.mark.parametrize(
    "name", [name for name in sorted(METHODS) if METHODS[name].images == "needed"]
)
def test_a_method_with_a_static_source_says_so_where_there_is_none(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="needs images"):
        _losses(tmp_path, batch=replace(_batch(), images=None), name=name)


@pytest.mark.parametrize("name", TWO_STREAMS)
def test_statistics_kept_apart_are_those_of_the_events_alone(name: str, tmp_path: Path) -> None:
    alone, *_ = _losses(tmp_path, name="target-only")
    apart, *_ = _losses(tmp_path, name=name, statistics="apart")
    shared, *_ = _losses(tmp_path, name=name, statistics="shared")
    assert len(_running(alone)) == 6
    for key, value in _running(alone).items():
        assert torch.equal(value, _running(apart)[key]), key
        assert not torch.equal(value, _running(shared)[key]), key
    assert all(m.track_running_stats for m in apart.modules() if isinstance(m, nn.BatchNorm2d))


def test_the_target_alone_learns_by_either_loss(tmp_path: Path) -> None:
    batch = _batch()
    logits = _network()(batch.events).logits
    for form in ("mean", "tet"):
        _, _, losses = _losses(tmp_path, name="target-only", loss=form)
        assert _value(losses.total) == pytest.approx(
            _value(classification(logits, batch.labels, form))
        )  # type: ignore[arg-type]


def test_finetuning_learns_images_first_and_recordings_later(tmp_path: Path) -> None:
    batch = _batch()
    for progress, name, stream in (
        (0.0, "static", batch.static),
        (0.29, "static", batch.static),
        (0.3, "events", batch.events),
    ):
        _, _, losses = _losses(tmp_path, progress, name="finetune", pretrain_share=0.3)
        assert _value(losses.parts[name]) == pytest.approx(
            _value(F.cross_entropy(_network()(stream).logits.mean(0), batch.labels))
        )
        assert losses.parts.keys() == {name}


def test_tmkt_adds_its_parts_with_the_weights_of_the_recipe(tmp_path: Path) -> None:
    _, _, losses = _losses(
        tmp_path, name="tmkt", alignment=0.7, modality_guidance=0.2, ratio_perception=0.3
    )
    p = {name: _value(loss) for name, loss in losses.parts.items()}
    assert all(value > 0 for value in p.values())
    expected = (
        p["static"]
        + p["events"]
        + 0.7 * p["alignment"]
        + 0.2 * p["modality_guidance"]
        + 0.3 * p["ratio_perception"]
    )
    assert _value(losses.total) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("key", "part"),
    [("alignment", "alignment"), ("modality_guidance",) * 2, ("ratio_perception",) * 2],
)
def test_each_part_of_tmkt_can_be_left_out(key: str, part: str, tmp_path: Path) -> None:
    _, method, losses = _losses(tmp_path, name="tmkt", **{key: 0.0})
    assert part not in losses.parts
    assert len(losses.parts) == 4
    losses.total.backward()
    assert all(p.grad is not None for p in method.parameters())  # and no idle probe is kept


def test_tmkt_without_mixup_is_joint_training_with_alignment(tmp_path: Path) -> None:
    off = {"mix_ratio": 0.0, "modality_guidance": 0.0, "ratio_perception": 0.0}
    net, _, losses = _losses(tmp_path, name="tmkt", **off)
    batch = _batch()
    source, target = _network().train()(batch.static), _network().train()(batch.events)
    expected = F.cross_entropy(source.logits.mean(0), batch.labels) + F.cross_entropy(
        target.logits.mean(0), batch.labels
    )
    assert _value(losses.total) == pytest.approx(
        _value(expected + 0.5 * alignment(source.membrane, target.membrane)), rel=1e-5
    )
    assert net.training


def test_a_scheduled_ratio_goes_from_images_to_events(tmp_path: Path) -> None:
    schedule = {"mix_ratio": 0.0, "mix_ratio_end": 1.0}
    _, _, first = _losses(tmp_path, 0.0, name="tmkt", **schedule)
    _, _, last = _losses(tmp_path, 1.0, name="tmkt", **schedule)
    _, _, images = _losses(tmp_path, name="tmkt", mix_ratio=0.0, mix_ratio_end=1.0)
    assert _value(first.parts["static"]) == _value(images.parts["static"])
    assert _value(last.parts["static"]) == _value(
        last.parts["events"]
    )  # both streams are the recordings


def test_a_ramp_follows_its_power(tmp_path: Path) -> None:
    ramp = {"mix_ratio": 0.0, "mix_ratio_end": 1.0, "mix_power": 3.0}
    _, _, half_way = _losses(tmp_path, 0.5, name="tmkt", **ramp)
    _, _, fixed = _losses(tmp_path, name="tmkt", mix_ratio=0.125)
    assert _value(half_way.parts["static"]) == _value(fixed.parts["static"])


def test_another_recording_of_the_class_is_mixed_in(tmp_path: Path) -> None:
    batch = replace(_batch(), labels=torch.tensor([0, 0, 1, 2, 2, 2, 2, 2]))
    only_events = {"mix_ratio": 1.0, "mix_partner": "other"}
    net, method = _network(), _method(_network(), tmp_path, batch, name="tmkt", **only_events)
    streams: list[torch.Tensor] = []
    net.register_forward_pre_hook(lambda _module, args: streams.append(args[0]))
    _exchanged_losses(method, net, batch, 0.0)
    mixed, events = streams
    assert torch.equal(events, batch.events)
    came = [int((events == mixed[:, i : i + 1]).all((0, 2, 3, 4)).nonzero()) for i in range(8)]
    assert came[:3] == [1, 0, 2]  # the third is the only one of its class
    assert sorted(came[3:]) == [3, 4, 5, 6, 7]
    assert all(found != own for found, own in zip(came[3:], range(3, 8), strict=True))


def test_reversed_guidance_teaches_the_features_to_hide_what_the_probe_finds() -> None:
    torch.manual_seed(0)
    follow, reverse = ModalityGuidance(6), ModalityGuidance(6, reverse=True)
    reverse.load_state_dict(follow.state_dict())
    modality = torch.randint(0, 2, (STEPS, 8)).float()
    found = []
    for guidance in (follow, reverse):
        features = torch.rand((STEPS, 8, 6), generator=torch.Generator().manual_seed(1))
        features.requires_grad_()
        loss = guidance(features, modality)
        loss.backward()
        found.append((_value(loss), features.grad, guidance.probe.weight.grad))
    (loss, moved, probe), (same, turned, also) = found
    assert loss == same
    assert torch.equal(turned, -moved)
    assert torch.equal(probe, also)


def test_kt_is_the_sum_of_its_published_terms(tmp_path: Path) -> None:
    """The terms are written out from Transfer-for-DVS b07d5dc, main_transfer.py 996-1063."""
    batch = _batch()
    net, method, losses = _losses(tmp_path, 0.0, name="kt")
    again = _network()
    rgb, dvs = again(batch.static), again(batch.events)
    weight, bias = (
        method.state_dict()["static_head.weight"],
        method.state_dict()["static_head.bias"],
    )
    sigma = 1 / (1 + np.exp(-1.0))
    l_rgb = l_dvs = l_da = 0.0
    for t in range(STEPS):
        o_rgb, o_dvs = (
            rgb.features[t] @ weight.T + bias,
            dvs.features[t] @ again.head.weight.T + again.head.bias,
        )
        l_rgb += (
            0.999 * F.cross_entropy(o_rgb, batch.labels)
            + 0.001 * F.mse_loss(o_rgb, torch.full_like(o_rgb, 0.5))
        ) / STEPS
        step = 0.999 * F.cross_entropy(o_dvs, batch.labels) + 0.001 * F.mse_loss(
            o_dvs, torch.full_like(o_dvs, 0.5)
        )
        l_dvs += (1 - sigma) * step / STEPS
        x, y = rgb.membrane[t].flatten(1).double(), dvs.membrane[t].flatten(1).double()
        centre = torch.eye(8, dtype=torch.float64) - 1 / 8
        k, other = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
        l_da += sigma * (1 - abs((k * other).sum() / (k.norm() * other.norm() + 1e-7))) / STEPS
    assert _value(losses.total) == pytest.approx(_value(l_rgb + l_dvs + 0.5 * l_da), rel=1e-5)
    assert {name: tuple(p.shape) for name, p in method.named_parameters()} == {
        "static_head.weight": (CLASSES, net.features),
        "static_head.bias": (CLASSES,),
        "step_weights.eta": (STEPS,),
    }
    assert _running(net).keys() == _running(again).keys()
    assert all(
        torch.equal(value, _running(again)[key]) for key, value in _running(net).items()
    )  # of both streams, images first


def test_kt_slides_from_images_to_recordings(tmp_path: Path) -> None:
    _, _, last = _losses(tmp_path, 1.0, name="kt", heads=1, loss="mean", step_weights="fixed")
    assert _value(last.parts["static"]) == _value(last.parts["events"])
    assert _value(last.parts["alignment"]) == pytest.approx(0.0, abs=1e-5)


def test_methods_as_published_and_as_the_recipe_says() -> None:
    kt = MethodRecipe(name="kt")
    assert (kt.heads, kt.loss, kt.step_weights, kt.statistics, kt.sliding_power, kt.alignment) == (
        2,
        "tet",
        "learned",
        "shared",
        3.0,
        0.5,
    )
    assert MethodRecipe(name="kt", heads=1).heads == 1
    assert MethodRecipe(name="tmkt", mix_ratio=0.6).mix_ratio_end == 0.6
    assert load_recipe("nmnist-fewshot", RECIPES, ["method.name=kt"]).method.heads == 2


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["method.step_weights=learned"], "learned needs loss = tet"),
        (["method.name=kt", "method.alignment=0.0"], "learned needs loss = tet and an alignment"),
        (["method.mix_ratio=0.0"], "set modality_guidance and ratio_perception to 0"),
        (
            ["method.name=ckd", "method.teacher=a.safetensors", "static.encoding=simulated"],
            "sees images",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: list[str], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        load_recipe("nmnist-fewshot", RECIPES, settings)


def test_distillation_is_on_at_first_and_off_at_the_end() -> None:
    assert phase_weight(0.0, 0.5, 30.0) == pytest.approx(1.0, abs=1e-6)
    assert phase_weight(0.5, 0.5, 30.0) == 0.5
    assert phase_weight(0.6, 0.5, 30.0) == pytest.approx(1 / (1 + np.exp(3.0)))
    assert phase_weight(1.0, 0.5, 30.0) < 1e-6


def test_ckd_distils_what_its_teacher_says_of_the_images(tmp_path: Path) -> None:
    batch, plain = (
        _batch(),
        {
            "heads": 1,
            "loss": "mean",
            "step_weights": "fixed",
            "statistics": "apart",
            "distillation": 0.6,
        },
    )
    _, method, losses = _losses(tmp_path, 0.0, name="ckd", **plain)
    again = _network()
    static, events = again(batch.static), again(batch.events)
    teacher = method.teacher.net(batch.stills)  # type: ignore[union-attr, operator]
    p, q = torch.softmax(teacher / 4, 1), torch.softmax(static.logits.mean(0) / 4, 1)
    kd = 16 * (p * (p.log() - q.log())).sum(1).mean()
    assert _value(losses.parts["distillation"]) == pytest.approx(_value(kd), rel=1e-4)
    both = sum(_value(F.cross_entropy(o.logits.mean(0), batch.labels)) for o in (static, events))
    expected = both + 0.6 * phase_weight(0.0, 0.5, 30.0) * _value(kd)
    assert _value(losses.total) == pytest.approx(
        expected + 0.5 * _value(alignment(static.membrane, events.membrane)), rel=1e-4
    )
    assert not [name for name in method.state_dict() if "teacher" in name]


def test_ckd_gives_a_replaced_sample_the_label_of_what_replaces_it(tmp_path: Path) -> None:
    batch = replace(
        _batch(), recordings=_batch().events * 0 + torch.arange(8).view(1, 8, 1, 1, 1) / 8
    )  # every recording tells which it is
    net = _network()
    method = _method(
        net,
        tmp_path,
        batch,
        name="ckd",
        heads=1,
        loss="mean",
        step_weights="fixed",
        likeness_temperature=1000.0,
    )
    streams: list[torch.Tensor] = []
    net.register_forward_pre_hook(lambda _module, args: streams.append(args[0]))
    losses = _exchanged_losses(method, net, batch, 1.0)  # all are replaced
    came = (streams[0][0, :, 0, 0, 0] * 8).round().long()
    assert came.tolist() != list(range(8))
    logits = _network()(streams[0]).logits.mean(0)
    expected = F.cross_entropy(logits, batch.labels[came])
    assert _value(losses.parts["static"]) == pytest.approx(_value(expected))
    # The teacher saw an image of another class than most samples now show: it teaches the rest.
    same = batch.labels[came] == batch.labels
    assert 0 < same.sum() < 8
    temperature = method.recipe.distillation_temperature
    taught = method.teacher.logits(batch.stills)[same]
    expected = distillation(logits[same], taught, temperature) * same.sum() / 8
    assert _value(losses.parts["distillation"]) == pytest.approx(_value(expected))


@pytest.mark.parametrize(
    ("name", "classes", "network", "own"),
    [
        # 10,153,700 in all, as its log says; of these, 8 layers' thresholds and 8 surrogates'
        # slopes are no parameters here.
        ("ncaltech101-kt", 101, 9_688_165, 10_153_700 - 16 - 9_688_165),
        ("nomniglot-kt", 1623, 696_573, 0),
        ("cepdvs-kt", 20, 11_177_620, 512 * 20 + 20 + 6),
    ],
)
def test_the_published_recipes_have_as_many_parameters_as_the_published_code(
    name: str, classes: int, network: int, own: int
) -> None:
    recipe = load_recipe(name, RECIPES)
    net = SpikingNetwork(recipe.network, (2, recipe.data.height, recipe.data.width), classes)
    method = METHODS[recipe.method.name](recipe.method, net, recipe.data.bins)
    assert sum(p.numel() for p in net.parameters()) == network
    assert sum(p.numel() for p in method.parameters()) == own
    assert recipe.data.protocol == "paper"
