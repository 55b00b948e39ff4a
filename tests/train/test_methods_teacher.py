import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from tmkt.datasets.digits import simulate_digits
from tmkt.errors import InputError
from tmkt.recipe import MethodRecipe, parse_recipe
from tmkt.runs import CHECKPOINT, INFO, METRICS, MODEL, TEACHER, TEACHER_CHECKPOINT
from tmkt.train import teacher as teachers
from tmkt.train.methods.base import Batch, Setting
from tmkt.train.teacher import Teacher, prepare_teacher, teacher_input
from tmkt.train.teacher_network import ResNet, resnet_from_tensors, small_resnet
from tmkt.train.trainer import train

CLASSES = 3


def torchvision_tensors(
    blocks: tuple[int, ...], bottleneck: bool, classes: int = 1000
) -> dict[str, Tensor]:
    """Names and shapes of torchvision's ResNets, written down from its models/resnet.py."""
    generator = torch.Generator().manual_seed(0)
    tensors: dict[str, Tensor] = {}

    def conv(name: str, out: int, into: int, kernel: int) -> None:
        tensors[f"{name}.weight"] = (
            torch.randn(out, into, kernel, kernel, generator=generator) / (into * kernel**2) ** 0.5
        )

    def norm(name: str, width: int) -> None:
        tensors.update(
            {
                f"{name}.weight": torch.ones(width),
                f"{name}.bias": torch.zeros(width),
                f"{name}.running_mean": torch.zeros(width),
            }
        )
        tensors.update(
            {
                f"{name}.running_var": torch.ones(width),
                f"{name}.num_batches_tracked": torch.tensor(7),
            }
        )

    conv("conv1", 64, 3, 7)
    norm("bn1", 64)
    into = 64
    for stage, count in enumerate(blocks):
        inner = 64 * 2**stage
        out = 4 * inner if bottleneck else inner
        for block in range(count):
            place = f"layer{stage + 1}.{block}"
            shapes = (
                [(inner, into, 1), (inner, inner, 3), (out, inner, 1)]
                if bottleneck
                else [(inner, into, 3), (inner, inner, 3)]
            )
            for i, shape in enumerate(shapes):
                conv(f"{place}.conv{i + 1}", *shape)
                norm(f"{place}.bn{i + 1}", shape[0])
            if block == 0 and into != out:
                conv(f"{place}.downsample.0", out, into, 1)
                norm(f"{place}.downsample.1", out)
            into = out
    tensors |= {
        "fc.weight": torch.randn(classes, into, generator=generator) / into**0.5,
        "fc.bias": torch.zeros(classes),
    }
    return tensors


def plain_forward(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    """Run a basic-block ResNet with a 7x7 stem, by plain functions."""

    def norm(name: str, y: Tensor) -> Tensor:
        return F.batch_norm(
            y,
            *(
                tensors[f"{name}.{key}"]
                for key in ("running_mean", "running_var", "weight", "bias")
            ),
        )

    x = F.max_pool2d(
        F.relu(norm("bn1", F.conv2d(x, tensors["conv1.weight"], stride=2, padding=3))), 3, 2, 1
    )
    for place in sorted({name.rsplit(".conv", 1)[0] for name in tensors if ".conv" in name}):
        stride = 2 if place.endswith(".0") and not place.startswith("layer1") else 1
        y = F.relu(
            norm(
                f"{place}.bn1",
                F.conv2d(x, tensors[f"{place}.conv1.weight"], stride=stride, padding=1),
            )
        )
        y = norm(f"{place}.bn2", F.conv2d(y, tensors[f"{place}.conv2.weight"], padding=1))
        if f"{place}.downsample.0.weight" in tensors:
            x = norm(
                f"{place}.downsample.1",
                F.conv2d(x, tensors[f"{place}.downsample.0.weight"], stride=stride),
            )
        x = F.relu(x + y)
    return F.linear(x.mean((2, 3)), tensors["fc.weight"], tensors["fc.bias"])


@pytest.mark.parametrize(
    ("blocks", "bottleneck", "parameters"),
    [((2, 2, 2, 2), False, 11_689_512), ((3, 4, 6, 3), True, 25_557_032)],
    ids=["resnet18", "resnet50"],
)
def test_a_checkpoint_of_torchvision_or_timm_is_its_network(
    blocks: tuple[int, ...], bottleneck: bool, parameters: int
) -> None:
    tensors = torchvision_tensors(blocks, bottleneck)
    net = resnet_from_tensors(tensors)
    assert sum(p.numel() for p in net.parameters()) == parameters  # as torchvision documents
    assert net.state_dict().keys() == tensors.keys()


def test_a_checkpoints_network_computes_what_its_layers_say() -> None:
    tensors = torchvision_tensors((2, 2, 2, 2), False)
    rng = torch.Generator().manual_seed(1)
    for name in [
        name
        for name in tensors
        if "running" in name or (".bn" in name and tensors[name].dim() == 1)
    ]:
        tensors[name] = torch.rand(tensors[name].shape, generator=rng) + 0.5
    x = torch.randn(2, 3, 64, 64, generator=rng)
    assert torch.allclose(
        resnet_from_tensors(tensors).eval()(x), plain_forward(tensors, x), rtol=1e-4, atol=1e-4
    )


def _change(name: str, value: Tensor | None) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {
        key: tensor for key, tensor in {**tensors, name: value}.items() if tensor is not None
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: {"a": torch.zeros(3)},  # noqa: ARG005
        _change("fc.weight", None),
        _change("fc.weight", torch.tensor(0.0)),
        _change("conv1.weight", torch.zeros(64, 4, 7, 7)),
        _change("conv1.weight", torch.zeros(64, 3, 5, 5)),
        _change("layer2.0.bn1.weight", torch.zeros(5)),
        _change("layer1.0.conv1.weight", None),
        _change("layer1.0.conv1.weight", torch.zeros(64)),
        _change("layer3.0.downsample.0.weight", None),
        _change("surplus", torch.zeros(5)),
        _change("layer1.0.conv2.weight", torch.zeros(10**4, 1, 1, 1)),
    ],
)
def test_a_checkpoint_of_another_network_is_refused_in_one_line(
    change: Any, tmp_path: Path
) -> None:
    path = tmp_path / "teacher.safetensors"
    save_file(change(torchvision_tensors((1, 1, 1), False)), path)
    with pytest.raises(
        InputError, match=r"teacher\.safetensors: .*; give a ResNet of torchvision or timm"
    ) as caught:
        prepare_teacher(
            MethodRecipe(name="ckd", teacher=str(path)), _setting(tmp_path / "run"), CLASSES
        )
    assert "\n" not in str(caught.value)


def test_a_teacher_that_is_no_file_or_no_safetensors_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    with pytest.raises(InputError, match="no such file"):
        prepare_teacher(MethodRecipe(name="ckd", teacher=str(path)), _setting(tmp_path), CLASSES)
    path.write_bytes(b"pickle")
    with pytest.raises(InputError, match="not a safetensors file"):
        prepare_teacher(MethodRecipe(name="ckd", teacher=str(path)), _setting(tmp_path), CLASSES)


def _batch(rng: np.random.Generator) -> Batch:
    """Images whose class is the third of the picture that is bright."""
    labels = torch.from_numpy(rng.integers(0, CLASSES, 12))
    stills = torch.from_numpy(rng.random((12, 2, 12, 12), np.float32)) / 2
    for i, label in enumerate(labels):
        stills[i, :, :, 4 * label : 4 * label + 4] += 0.5
    return Batch(torch.zeros(2, 12, 2, 12, 12), stills, labels)


def _setting(
    folder: Path, draw: Callable[[np.random.Generator], Batch] = _batch, data: bytes = b"data"
) -> Setting:
    folder.mkdir(exist_ok=True)
    return Setting(lambda rng, _: draw(rng), folder, 0, data, torch.device("cpu"))


RECIPE = MethodRecipe(name="ckd", teacher_steps=60, teacher_width=4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    prepare_teacher(RECIPE, _setting(folder), CLASSES)
    return folder


def test_a_teacher_learns_the_images_and_is_kept_with_its_names(trained: Path) -> None:
    def never(rng: np.random.Generator) -> Batch:  # noqa: ARG001
        raise AssertionError("the teacher of the run is not trained again")

    teacher = prepare_teacher(RECIPE, _setting(trained, never), CLASSES)
    batch = _batch(np.random.default_rng(99))
    assert (teacher.logits(batch.stills).argmax(1) == batch.labels).float().mean() > 0.9
    assert not any(p.requires_grad for p in teacher.net.parameters())
    tensors = load_file(trained / TEACHER)
    assert tensors["fc.weight"].shape == (CLASSES, 16)
    assert resnet_from_tensors({name: tensor for name, tensor in tensors.items() if name != "data"})
    assert not (trained / TEACHER_CHECKPOINT).exists()


def test_a_teacher_that_was_cut_off_goes_on_to_the_same_bytes(
    trained: Path, tmp_path: Path
) -> None:
    steps: list[int] = []

    def cut(rng: np.random.Generator) -> Batch:
        if len(steps) == 55:
            raise KeyboardInterrupt
        steps.append(0)
        return _batch(rng)

    with pytest.raises(KeyboardInterrupt):
        prepare_teacher(RECIPE, _setting(tmp_path, cut), CLASSES)
    assert [path.name for path in tmp_path.iterdir()] == [TEACHER_CHECKPOINT]
    with pytest.raises(InputError, match="other recordings or images"):
        prepare_teacher(RECIPE, _setting(tmp_path, data=b"else"), CLASSES)
    steps.clear()
    prepare_teacher(RECIPE, _setting(tmp_path, cut), CLASSES)
    assert len(steps) == 10  # from the checkpoint of step 50 on
    assert (tmp_path / TEACHER).read_bytes() == (trained / TEACHER).read_bytes()


def test_a_kept_teacher_of_other_data_or_damaged_is_refused(trained: Path, tmp_path: Path) -> None:
    (tmp_path / TEACHER).write_bytes((trained / TEACHER).read_bytes())
    with pytest.raises(InputError, match="other recordings or images"):
        prepare_teacher(RECIPE, _setting(tmp_path, data=b"else"), CLASSES)
    (tmp_path / TEACHER).write_bytes((trained / TEACHER).read_bytes()[:-9])
    with pytest.raises(InputError, match="not a safetensors file"):
        prepare_teacher(RECIPE, _setting(tmp_path), CLASSES)


def test_a_given_teacher_of_as_many_classes_is_taken_as_it_is(
    trained: Path, tmp_path: Path
) -> None:
    recipe = RECIPE.model_copy(update={"teacher": str(trained / TEACHER)})
    prepare_teacher(recipe, _setting(tmp_path), CLASSES)
    assert (tmp_path / TEACHER).read_bytes() == (trained / TEACHER).read_bytes()


def test_a_given_teacher_of_other_classes_gets_a_new_classifier_and_learns(tmp_path: Path) -> None:
    given = torchvision_tensors((1, 1), False, classes=10)
    path = tmp_path / "given.safetensors"
    save_file(given, path)
    recipe = RECIPE.model_copy(update={"teacher": str(path), "teacher_steps": 2})
    teacher = prepare_teacher(recipe, _setting(tmp_path / "run"), CLASSES)
    kept = load_file(tmp_path / "run" / TEACHER)
    assert kept["fc.weight"].shape == (CLASSES, 128)
    assert not torch.equal(kept["conv1.weight"], given["conv1.weight"])
    assert torch.allclose(
        kept["conv1.weight"], given["conv1.weight"], atol=3 * teachers.FINE_TUNE_RATE
    )
    assert teacher.logits(_batch(np.random.default_rng(0)).stills).shape == (12, CLASSES)


def test_a_network_of_colour_images_sees_grey_ones_on_the_scale_of_imagenet() -> None:
    stills = torch.rand(4, 2, 34, 34)
    three = ResNet(3, 7, [[(8, 8, 8)]], CLASSES)
    shown = teacher_input(three, stills)
    assert shown.shape == (4, 3, 224, 224)
    back = shown * torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1) + torch.tensor(
        [0.485, 0.456, 0.406]
    ).view(1, 3, 1, 1)
    assert torch.allclose(back[:, 0], back[:, 2], atol=1e-6)
    assert torch.allclose(
        F.adaptive_avg_pool2d(back[:, :1], 1), stills.mean((1, 2, 3)).view(4, 1, 1, 1), atol=2e-2
    )
    assert torch.equal(
        teacher_input(ResNet(1, 3, [[(8, 8, 8)]], CLASSES), stills), stills.mean(1, keepdim=True)
    )
    assert torch.equal(teacher_input(small_resnet(2, 4, CLASSES), stills), stills)


def test_likeness_is_the_cosine_of_the_centred_classifier() -> None:
    torch.manual_seed(0)
    teacher = Teacher(small_resnet(2, 4, 6))
    weights = teacher.net.fc.weight.detach().numpy()
    centred = weights - weights.mean(0)
    cosine = [
        [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for b in centred] for a in centred
    ]
    np.testing.assert_allclose(teacher.class_similarity().numpy(), cosine, atol=1e-5)


CKD = {
    "data": {"name": "digits", "shots": 2, "bins": 5, "bin_us": 63200},
    "network": {"channels": [4, 8], "strides": [2, 1], "pools": [2, 2]},
    "method": {"name": "ckd", "teacher_steps": 12, "teacher_width": 2},
    "train": {"steps": 12, "batch": 10, "warmup_steps": 2, "threads": 1},
}
# A training in a process of its own that is killed by itself at the drawing of a given batch,
# counted over teacher and network.
SCRIPT = """
import json, os, signal, sys
from pathlib import Path
from tmkt.recipe import parse_recipe
from tmkt.train import teacher, trainer
teacher.CHECKPOINT_EVERY = trainer.CHECKPOINT_EVERY = 4
drawn = []
def counted(draw):
    def counts(*arguments):
        drawn.append(0)
        if len(drawn) == int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)
        return draw(*arguments)
    return counts
trainer.draw_batch, trainer.draw_samples = map(counted, (trainer.draw_batch, trainer.draw_samples))
recipe = parse_recipe(json.loads(sys.argv[1]), "test")
trainer.train(recipe, Path(sys.argv[2]), None, Path(sys.argv[3]), resume=True)
"""


def test_a_distillation_that_was_killed_twice_ends_bit_for_bit_like_one_that_was_not(
    tmp_path: Path,
) -> None:
    digits = tmp_path / "digits"
    simulate_digits(digits, 4, 0)
    train(parse_recipe(CKD, "test"), digits, None, tmp_path / "whole")
    for kill_at in (7, 12):  # while the teacher learns; from its step 5 on: while the network does
        command = [
            sys.executable,
            "-c",
            SCRIPT,
            json.dumps(CKD),
            str(digits),
            str(tmp_path / "killed"),
            str(kill_at),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert (tmp_path / "killed" / TEACHER).exists() == (kill_at == 12)
    train(parse_recipe(CKD, "test"), digits, None, tmp_path / "killed", resume=True)
    for name in (MODEL, METRICS, INFO, CHECKPOINT, TEACHER):
        assert (tmp_path / "whole" / name).read_bytes() == (
            tmp_path / "killed" / name
        ).read_bytes(), name
