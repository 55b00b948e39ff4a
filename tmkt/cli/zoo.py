"""Commands `tmkt zoo list` and `tmkt zoo show`."""

from typing import Annotated

import typer

from tmkt import console
from tmkt.cli.group import Group
from tmkt.cli.options import JsonOption
from tmkt.cli.tables.zoo import print_card, print_zoo

app = typer.Typer(
    help="List the pre-trained backbones, show the card of one.",
    epilog="Example: tmkt zoo show s",
    cls=Group,
    rich_markup_mode=None,
    no_args_is_help=True,
)


def backbone_names(incomplete: str) -> list[str]:
    """Complete the names of the zoo's backbones."""
    from tmkt.zoo.card import names

    return [name for name in names() if name.startswith(incomplete)]


@app.command("list", epilog="Example: tmkt zoo list")
def zoo_list(as_json: JsonOption = False) -> None:
    """List the backbones that come with tmkt: size, accuracy, cores and memory."""
    from tmkt.zoo.card import load_card, names

    cards = [load_card(name) for name in names()]
    if as_json:
        console.emit_json({"backbones": [card.model_dump() for card in cards]})
        return
    print_zoo(cards)
    console.note("More of one: tmkt zoo show NAME")


@app.command("show", epilog="Example: tmkt zoo show s")
def zoo_show(
    name: Annotated[
        str,
        typer.Argument(help="A backbone's name (tmkt zoo list).", autocompletion=backbone_names),
    ],
    as_json: JsonOption = False,
) -> None:
    """Show the card of a backbone: data, licence, training, accuracy, costs and limits."""
    from tmkt.zoo.card import load_card

    card = load_card(name)
    if as_json:
        console.emit_json(card.model_dump())
    else:
        print_card(card)
