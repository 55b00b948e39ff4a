"""Terminal tables of the zoo: its backbones, and the card of one."""

from textwrap import wrap
from typing import TYPE_CHECKING

from tmkt.cli.tables.table import table
from tmkt.console import joules_with_interval, percent, say

if TYPE_CHECKING:
    from tmkt.zoo.card import Card, Chip

WIDTH = 80  # columns
TITLE = 14  # of these


def print_zoo(cards: "list[Card]") -> None:
    """Print one line a backbone. The table is at most 80 columns wide."""
    rows: list[list[object]] = [
        [
            card.name,
            f"{card.input.width}x{card.input.height}",
            f"{card.weights.parameters:,}",
            percent(card.held_out.accuracy),
            *(_cores(card.cost.chips, device) for device in ("loihi1", "loihi2")),
            f"{card.cost.ram_bytes / 1000:.0f}",
            f"{(card.cost.flash_bytes - card.cost.head_flash_bytes) / 1000:.0f}",
        ]
        for card in cards
    ]
    columns = ["name", "input", "parameters", "held out", "Loihi 1", "Loihi 2", "RAM", "flash"]
    title = "Backbones without a head at 8 bits: cores of one chip, RAM and flash in kB"
    table(title, columns, rows)
    say(
        "held out: accuracy, with the head of the pre-training, over photographs before the"
        " simulated camera that were not trained on. It compares backbones, and says nothing about"
        " your camera."
    )


def print_card(card: "Card") -> None:
    """Print all that a card says, in 80 columns."""
    network, training, cost, test = card.network, card.training, card.cost, card.held_out
    machine = training.machine
    layers = "".join(
        f", {key} {', '.join(map(str, values))}"
        for key in ("channels", "strides", "pools")
        if (values := getattr(network, key))
    )
    say(card.name)
    _line(
        "network", f"{network.name}{layers}, tau {network.tau:g}, threshold {network.threshold:g}"
    )
    _line(
        "input",
        f"{card.input.width} x {card.input.height} pixels, {card.input.bins} bins of"
        f" {card.input.bin_us / 1000:g} ms, counts up to {card.input.max_count}",
    )
    _line("weights", f"{card.weights.parameters:,} parameters, {card.weights.bytes:,} bytes")
    _line("trained on", f"{card.data.images:,} images of {card.data.classes} classes, alone")
    _line("images", f"{card.data.title}, {card.data.licence}: {card.data.source}")
    _line("command", training.command)
    _line(
        "machine",
        ", ".join(
            part or "unknown" for part in (machine.processor, machine.instructions, machine.system)
        ),
    )
    _line("versions", ", ".join(f"{name} {number}" for name, number in machine.versions.items()))
    _line(
        "held out",
        f"{percent(test.accuracy, [test.low, test.high])} of {test.samples:,} simulated recordings"
        " of other images, with its own head, as floats",
    )
    say(f"As integers of {cost.bits} bits, with a head of {cost.head_classes} classes:")
    _line("size", f"{cost.neurons:,} neurons, {cost.weights:,} weights")
    for chip in cost.chips:
        _line(chip.device, _placement(chip))
    _line(
        "C",
        f"{cost.ram_bytes:,} bytes of RAM, {cost.flash_bytes:,} of constants,"
        f" {cost.head_flash_bytes:,} of them for the head",
    )
    _line(
        "an inference",
        f"{cost.synops:,.0f} synaptic operations, {cost.spikes:,.0f} spikes (mean of"
        f" {cost.recordings} recordings of training images)",
    )
    for found in cost.energy:
        figures = joules_with_interval(found.model_dump())
        _line("energy", f"{figures} by {found.estimator} for {found.device}")
    say("Limits:")
    for limit in card.limits:
        _line("", limit)
    say("SHA-256:")
    _line("weights", card.weights.sha256)
    _line("images", card.data.sha256)
    _line("recipe.toml", training.recipe_sha256)
    _line("run's model", training.model_sha256)


def _line(title: str, text: str) -> None:
    """Print a title and a text beside it, wrapped."""
    parts = wrap(text, WIDTH - TITLE - 2, break_long_words=False, break_on_hyphens=False) or [""]
    for i, part in enumerate(parts):
        say(f"  {title if i == 0 else '':<{TITLE}}{part}")


def _cores(chips: "list[Chip]", device: str) -> str:
    """Say how many cores of one chip a backbone takes without its head, or that it needs more."""
    chip = next((chip for chip in chips if chip.device == device), None)
    if chip is None or chip.cores is None:
        return "no"
    return f"{chip.cores - (chip.head_cores or 0)}" if chip.fits else f"{chip.chips} chips"


def _placement(chip: "Chip") -> str:
    if chip.cores is None:
        return "does not fit: no core holds a part of some layer"
    chips = "one chip" if chip.fits else f"{chip.chips} chips"
    return f"{chip.cores} cores on {chips}, {chip.head_cores} of them for the head"
