"""Comparison of two reports over the same recordings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.console import joules, joules_with_interval, percent, significant
from tmkt.deploy.parity.statistics import mcnemar
from tmkt.deploy.report.page import write
from tmkt.deploy.report.table import DASH, Table, count

Report = dict[str, Any]
Predictions = NDArray[np.int64] | None


def compare(
    first: Report, second: Report, answers: tuple[Predictions, Predictions], labels: Predictions
) -> Report:
    """Compare two reports: both as they are, and their `accuracy`, `recipe` and `energy` side by
    side.

    `answers` and `labels`: int64 [N] over the same recordings, None where none were given.
    `accuracy`: recordings that only one of them has right, and the exact two-sided p-value of
    McNemar's test that both are equally often right. `recipe`: settings that differ. `energy`:
    central values by estimator and their ratio, second over first.
    """
    accuracy = None
    a, b = answers
    if a is not None and b is not None and labels is not None:
        only_first, only_second, p = mcnemar(a == labels, b == labels)
        accuracy = {
            "samples": len(labels),
            "only_first": only_first,
            "only_second": only_second,
            "p": p,
            "same": int((a == b).sum()),
        }
    return {
        "first": first,
        "second": second,
        "accuracy": accuracy,
        "recipe": _differing(first["recipe"], second["recipe"]),
        "energy": _energy(first, second),
    }


def _settings(recipe: str | None) -> dict[str, str]:
    """Split a recipe into its values by "section.key"."""
    found, section = {}, ""
    for line in (recipe or "").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif " = " in line:
            key, _, value = line.partition(" = ")
            found[f"{section}.{key}"] = value
    return found


def _differing(first: str | None, second: str | None) -> list[dict[str, str | None]]:
    a, b = _settings(first), _settings(second)
    if not a or not b:
        return []
    return [
        {"setting": key, "first": a.get(key), "second": b.get(key)}
        for key in dict.fromkeys([*a, *b])
        if a.get(key) != b.get(key)
    ]


def _energy(first: Report, second: Report) -> list[dict[str, Any]]:
    if not first["energy"] or not second["energy"]:
        return []
    others = {(e["estimator"], e["device"]): e for e in second["energy"]["estimates"]}
    found = []
    for e in first["energy"]["estimates"]:
        other = others.get((e["estimator"], e["device"]))
        if other is not None:
            ratio = other["energy_j"] / e["energy_j"] if e["energy_j"] > 0 else None
            found.append(
                {
                    "estimator": e["estimator"],
                    "device": e["device"],
                    "first": _figures(e),
                    "second": _figures(other),
                    "ratio": ratio,
                }
            )
    return found


def _figures(e: dict[str, Any]) -> dict[str, float]:
    return {key: e[key] for key in ("energy_j", "low_j", "high_j")}


def names(comparison: Report) -> list[str]:
    """Name the two in tables: by their folders, or by the whole paths where those are the same."""
    given = [comparison[side]["name"] for side in ("first", "second")]
    short = [Path(name).name for name in given]
    return short if short[0] != short[1] else given


def tables(comparison: Report) -> dict[str, Table]:
    """Make the tables of the page, by id."""
    sides = [comparison["first"], comparison["second"]]
    columns = names(comparison)
    found = [
        Table(
            "figures",
            ["", *columns],
            [[name, *(shown(side) for side in sides)] for name, shown in FIGURES],
        )
    ]
    engines = [{e["name"]: e for p in side["parity"] or [] for e in p["engines"]} for side in sides]
    if any(engines):
        rows = [
            [name, *(_parity(of.get(name)) for of in engines)]
            for name in dict.fromkeys([*engines[0], *engines[1]])
        ]
        found.append(Table("parity", ["engine", *columns], rows))
    firing = [{layer["name"] for layer in side["network"] if layer["fires"]} for side in sides]
    layers = [
        {layer["name"]: layer for layer in side["rates"] or [] if layer["name"] in of}
        for side, of in zip(sides, firing, strict=True)
    ]
    if any(layers):
        rows = [
            [name, *(_rate(of.get(name)) for of in layers)]
            for name in dict.fromkeys([*layers[0], *layers[1]])
        ]
        found.append(Table("rates", ["layer", *columns], rows))
    if comparison["recipe"]:
        rows = [
            [entry["setting"], entry["first"] or DASH, entry["second"] or DASH]
            for entry in comparison["recipe"]
        ]
        found.append(Table("recipe", ["setting", *columns], rows))
    if comparison["energy"]:
        rows = []
        for e in comparison["energy"]:
            ratio = DASH if e["ratio"] is None else significant(e["ratio"])
            rows.append(
                [
                    f"{e['estimator']} ({e['device']})",
                    joules_with_interval(e["first"]),
                    joules_with_interval(e["second"]),
                    ratio,
                ]
            )
        found.append(Table("energy", ["estimator", *columns, "second / first"], rows))
    return {table.id: table for table in found}


def _parity(engine: dict[str, Any] | None) -> str:
    if engine is None:
        return DASH
    differing = engine["spike_mismatches"]
    return (
        f"{percent(engine['prediction_agreement'])} same answers, {count(differing)} spikes differ"
    )


def _rate(layer: dict[str, Any] | None) -> str:
    return (
        DASH
        if layer is None
        else f"{percent(layer['rate'])} ({count(layer['spikes_per_sample'])} spikes)"
    )


def _of(side: Report, key: str) -> Any:
    return None if side["evaluation"] is None else side["evaluation"][key]


def _float_accuracy(side: Report) -> str:
    return (
        DASH if side["training"] is None else percent(side["training"]["test"]["accuracy"]) or DASH
    )


def _cores(side: Report) -> str:
    return ", ".join(f"{count(fit['cores'])} on {fit['device']}" for fit in side["fit"]) or DASH


def _first_energy(side: Report) -> str:
    return (
        DASH if not side["energy"] else joules(side["energy"]["estimates"][0]["energy_j"]) or DASH
    )


FIGURES: list[tuple[str, Callable[[Report], str]]] = [
    ("data set", lambda side: side["title"]),
    ("method", lambda side: side["training"]["method"] if side["training"] else DASH),
    ("accuracy in float, its own test", _float_accuracy),
    (
        "accuracy (95 % interval)",
        lambda side: percent(_of(side, "accuracy"), _of(side, "accuracy_ci95")) or DASH,
    ),
    ("recordings", lambda side: count(_of(side, "samples"))),
    ("neurons", lambda side: count(sum(layer["neurons"] for layer in side["network"]) or None)),
    ("weights", lambda side: count(sum(layer["weights"] for layer in side["network"]) or None)),
    ("spikes a recording", lambda side: count(_of(side, "spikes_per_sample"))),
    ("synaptic operations a recording", lambda side: count(_of(side, "synops_per_sample"))),
    ("cores", _cores),
    ("energy of an answer, first estimate", _first_energy),
]


def write_comparison(path: Path, comparison: Report) -> None:
    """Write the page of two reports. InputError where the disk refuses."""
    trained = [comparison[side]["training"] for side in ("first", "second")]
    curves = [{} if of is None else of["curves"] for of in trained]
    metrics = [
        (
            name,
            [
                (label, of[name])
                for label, of in zip(names(comparison), curves, strict=True)
                if name in of
            ],
        )
        for name in {**curves[0], **curves[1]}
    ]
    write(
        path,
        "compare.html",
        {
            "c": comparison,
            "names": names(comparison),
            "tables": tables(comparison),
            "metrics": metrics,
        },
    )
