"""Tests of device files: every value has its source; a wrong file is refused in one line."""

from pathlib import Path

import pytest

from tmkt.deploy.fit.device import DEVICES, devices, load_device
from tmkt.errors import InputError


def test_the_devices_are_those_with_limits() -> None:
    assert devices() == ["loihi1", "loihi2"]


@pytest.mark.parametrize("name", devices())
def test_every_value_has_a_status_and_a_source(name: str) -> None:
    device = load_device(name)
    what = {row[0] for row in device.sources}
    assert {
        "neurons",
        "axons_in",
        "synapse_words",
        "delay_steps",
        "cores",
        "sharing",
        "time of synop_conv",
    } <= what
    for row in device.sources:
        assert row[2] in ("measured", "published", "derived", "assumed")
        assert len(row[3]) > 5


def test_a_file_of_ones_own_is_a_device(tmp_path: Path) -> None:
    text = (
        (DEVICES / "loihi2.toml").read_text(encoding="utf-8").replace("value = 4095", "value = 100")
    )
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    device = load_device(str(tmp_path / "mine.toml"))
    assert (device.name, device.limits.neurons) == ("mine", 100)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "neurons"', 'name = "neuron"', "did you mean 'neurons'"),
        ("value = 4095", "value = 0", "limit 'neurons' is 0"),
        ("value = 4095", 'value = "many"', "valid integer"),
        ('status = "derived"', 'status = "sure"', "found 'sure'"),
        ('name = "axons_in"', 'name = "neurons"', "limit 'neurons' twice"),
        ('operation = "fired"', 'operation = "neuron"', "time 'neuron' twice"),
        ("low_ns = 0.62", "low_ns = 0.95", "the lower one first"),
        ("from_tiles = 1", "from_tiles = 2", "expected 1"),
        ('value = ["kernel"]', 'value = ["copies"]', "copies"),
        ("[[barrier]]", "[[barriers]]", "barrier"),
        ("title = ", "title = [", "not a readable device file"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (DEVICES / "loihi2.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=said) as caught:
        load_device(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_devices_are_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'loihi2'"):
        load_device("lohi2")
    with pytest.raises(InputError, match="no such file"):
        load_device(str(tmp_path / "none.toml"))
