"""Root of the command line: all commands, and how each of them ends.

Commands import the stages that they run inside their functions, so that `tmkt --help` stays quick.
No other module of tmkt/ imports a stage.
"""

import io
import os
import signal
import sys
import time
import traceback
from typing import Annotated

import typer

from tmkt import __version__, console
from tmkt.cli import (
    convert,
    data,
    demo,
    doctor,
    energy,
    export,
    filters,
    fit,
    init,
    report,
    run,
    send,
    stream,
    train,
    tune,
    zoo,
)
from tmkt.cli.group import Group
from tmkt.errors import InputError, nearest

CLOSED_PIPE = 141  # as of programs that a closed pipe ends: 128 + SIGPIPE

app = typer.Typer(
    help=(
        "Train spiking networks for event cameras with the help of images, export them as integers,"
        " and prove what they compute."
    ),
    cls=Group,
    epilog=(
        "Start with: tmkt demo --quick\n\n"
        "Exit codes: 0 done; 1 a check failed (engines differ, a network does not fit); 2 wrong use"
        " or bad input, in one line; 130 interrupted (Ctrl-C); 141 nobody reads the output any more"
        " (a closed pipe)."
    ),
    context_settings={"help_option_names": ["--help", "-h"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
for group in (init, train, tune, export, run, fit, energy, stream, report, demo, doctor):
    app.add_typer(group.app)
app.add_typer(train.recipes_app, name="recipes")
app.add_typer(zoo.app, name="zoo")
data.app.add_typer(convert.app)
data.app.add_typer(filters.app)
data.app.add_typer(send.app)
app.add_typer(data.app, name="data")


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 a check failed, 2 wrong use or bad input, 130
    interrupted, 141 nobody reads the output.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidied up like Ctrl-C
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors=console.SPELT_OUT)
    console.command_line = True
    arguments = _loudness_first(sys.argv[1:])
    verbose, begin = bool({"--verbose", "-v"} & set(arguments[:2])), time.monotonic()
    try:
        code = app(arguments, prog_name="tmkt", standalone_mode=False)
        if code == 130:  # how typer gives KeyboardInterrupt back
            console.error("interrupted")
    except InputError as error:
        if verbose:
            for line in traceback.format_exc().rstrip().split("\n"):
                print(console.printable(line), file=sys.stderr)
        console.error(str(error))
        code = 2
    except SystemExit as left:
        # How typer ends at a closed pipe. Commands end with typer.Exit, or with 130.
        code = CLOSED_PIPE if left.code == 1 else left.code
    except (KeyboardInterrupt, typer.Abort):
        console.error("interrupted")
        code = 130
    except typer.TyperException as error:
        if (
            type(error).__name__ == "NoArgsIsHelpError"
        ):  # `tmkt` alone: the message is the help; typer keeps the class to itself
            print(error.format_message(), file=sys.stderr)
        else:
            console.error(_wrong_use(error))
        code = 2
    except BrokenPipeError:
        sys.stderr.close()
        code = CLOSED_PIPE
    except MemoryError:
        console.error(
            "not enough memory; use --limit, or a smaller batch, network or number of bins, or free"
            " some"
        )
        code = 2
    except OSError as error:
        console.error(
            f"{error.filename or 'file'}: {error.strerror or error}; check the path, its"
            " permissions and the free space"
        )
        code = 2
    if verbose:
        print(
            f"tmkt {__version__}, Python {sys.version.split()[0]}, {time.monotonic() - begin:.1f}"
            f" s{_peak()}",
            file=sys.stderr,
        )
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _common(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="Results and errors only; may also stand behind the command."
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Where an error comes from, time and memory at the end; likewise.",
        ),
    ] = False,
) -> None:
    if quiet and verbose:
        raise InputError("--quiet and --verbose: expected one of them")
    # Of the processes that torchrun starts, the first one tells what all do.
    console.quiet = quiet or os.environ.get("RANK", "0") != "0"
    if version:
        console.say(f"tmkt {__version__}")
        raise typer.Exit


def _loudness_first(arguments: list[str]) -> list[str]:
    """Move --quiet and --verbose to the front, where they are looked for.

    People write them last.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    loudness = [a for a in arguments[:end] if a in ("--quiet", "-q", "--verbose", "-v")]
    return [*loudness, *(a for a in arguments[:end] if a not in loudness), *arguments[end:]]


def _wrong_use(error: typer.TyperException) -> str:
    """Say what is wrong with a command's words, the nearest right word, and which help
    says more.
    """
    context = getattr(error, "ctx", None)
    option = getattr(error, "option_name", None)
    text = error.format_message().rstrip(".")
    if context is not None and option and text.startswith("No such option"):
        known = [
            name
            for parameter in context.command.params
            for name in (*parameter.opts, *parameter.secondary_opts)
            if name.startswith("--")
        ]
        text = f"No such option: {option}{nearest(option, [*known, '--help'])}"
    return f"{text}; see: {context.command_path if context is not None else 'tmkt'} --help"


def _peak() -> str:
    """Return the peak memory of the process as text, if the system tells."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return ""
    unit = 1 if sys.platform == "darwin" else 1024
    return f", {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6:.0f} MB at the peak"
