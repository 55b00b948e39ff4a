"""Keys of earlier versions, which recipes, runs and commands may still hold."""

from typing import Any

from tmkt import console
from tmkt.errors import InputError

SENSOR = "data.sensor"  # until 0.1: [height, width] of the network's input; [] for the recordings'


def renewed(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Give a recipe's values with today's keys, with a note on standard error where that differs.

    `values` stay as they are. Raises InputError for an old key with a wrong value.
    """
    data = values.get("data")
    if not isinstance(data, dict):
        return dict(values)
    data = dict(data)
    if "sensor" in data:
        sensor = data.pop("sensor")
        if "width" in data or "height" in data:
            raise InputError(
                f"{where}: data.sensor beside data.width and data.height, expected one of them;"
                " leave out data.sensor, which is from before 0.2"
            )
        if sensor:  # a resolved recipe holds [] where the recordings decide: nothing to say
            data |= _size(sensor, where)
            console.note(
                f"{where}: data.sensor = {sensor} (height, width) is from before 0.2; write"
                f" data.width = {data['width']} and data.height = {data['height']}"
            )
    return {**values, "data": data}


def renew_override(sensor: Any, override: str) -> dict[str, int]:
    """Give width and height for an override of `data.sensor`, with a note on standard error."""
    found = _size(sensor, f"--set {override!r}") if sensor else {"width": 0, "height": 0}
    console.note(
        f"--set {override}: data.sensor (height, width) is from before 0.2; write --set"
        f" data.width={found['width']} --set data.height={found['height']}"
    )
    return found


def _size(sensor: Any, where: str) -> dict[str, int]:
    sides = sensor if isinstance(sensor, list) else []
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise InputError(
            f"{where}: data.sensor is {sensor!r}, expected data.width and data.height in pixels;"
            " write these"
        )
    return {"width": sides[1], "height": sides[0]}
