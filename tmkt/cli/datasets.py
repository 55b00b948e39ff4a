"""tmkt data list, check and fetch."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from tmkt import console
from tmkt.cli.options import JsonOption, StaticOption
from tmkt.cli.tables.datasets import print_data_check, print_data_sets


def register(app: typer.Typer) -> None:
    """Add the commands to `tmkt data`."""
    app.command("list", epilog="Example: tmkt data list ~/datasets")(data_list)
    app.command("check", epilog="Example: tmkt data check data/nmnist --static data/mnist")(
        data_check
    )
    app.command("fetch", epilog="Example: tmkt data fetch nmnist --out data/nmnist")(data_fetch)


def data_list(
    places: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders to look in [$TMKT_DATA, else ./data].", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the known data sets and where they were found."""
    from tmkt.datasets.check import known_sets
    from tmkt.datasets.check import places as look_in
    from tmkt.datasets.fetch import FETCHED

    found = known_sets(places or [])
    if as_json:
        console.emit_json(
            {
                "looked_in": [str(place) for place in look_in(places or [])],
                "data_sets": found,
                "fetch": list(FETCHED),
            }
        )
        return
    print_data_sets(found)
    console.note(
        f"Looked in: {', '.join(map(str, look_in(places or [])))}. To fetch: tmkt data fetch"
        f" {'|'.join(FETCHED)}"
    )


def data_check(
    data: Annotated[
        Path, typer.Argument(help="Folder of the recordings, or of images without recordings.")
    ],
    name: Annotated[
        str | None,
        typer.Option(
            "--name", help="Which data set it is (tmkt data list) [found out].", show_default=False
        ),
    ] = None,
    static: StaticOption = None,
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol", help="The split that must not leak: instance-disjoint or paper."
        ),
    ] = "instance-disjoint",
    as_json: JsonOption = False,
) -> None:
    """Read all of a data set: counts per class, corrupt files, classes without images, leaks
    between splits. Exit code 1 if something is wrong.
    """
    from tmkt.datasets.check import check_data, detect
    from tmkt.datasets.check_images import check_images
    from tmkt.datasets.registry import dataset
    from tmkt.errors import InputError, nearest

    if protocol not in ("instance-disjoint", "paper"):
        known = ["instance-disjoint", "paper"]
        raise InputError(
            f"--protocol {protocol!r}: not known, expected"
            f" {' or '.join(known)}{nearest(protocol, known)}"
        )
    source = dataset(name or detect(data))
    with console.progress("read") as update:
        if source.name == "images":
            report = check_images(data, update)
        else:
            report = check_data(source, data, static, protocol, update)
    if as_json:
        console.emit_json(report)
    else:
        print_data_check(report)
    if report["problems"]:
        raise typer.Exit(1)


def data_fetch(
    name: Annotated[
        str,
        typer.Argument(
            help=(
                "A data set or images: nmnist, ncaltech101, cifar10dvs, dvsgesture, mnist,"
                " caltech101, ..."
            )
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder to fetch into [data/NAME].", show_default=False),
    ] = None,
) -> None:
    """Download a data set, check it and unpack it. An interrupted download goes on with the same
    command.
    """
    from tmkt.datasets.fetch import IMAGES, archives, fetch

    wanted = archives(name)
    place = out or Path("data") / name
    with console.progress("fetch, MB") as update:
        fetch(wanted, place, lambda _, done, total: update(done >> 20, (total or done) >> 20, None))
    there = f"{place}: {name} is there"
    if name in IMAGES:
        console.note(there)
    else:
        console.note(f"{there}. Next:", f"tmkt data check {quote(str(place))}")
