"""The command line: one file a group of commands.

A command imports the stage that it runs, so that `tmkt --help` stays quick; nothing else in tmkt/ imports a stage.
"""

import io
import signal
import sys
from typing import Annotated

import typer

from tmkt import __version__, console
from tmkt.cli import data, demo, doctor, energy, export, fit, run, send, stream, train
from tmkt.errors import InputError

app = typer.Typer(
    help="Train spiking networks for event cameras with the help of images, export them as integers, and prove what they compute.",
    epilog="Start with: tmkt demo",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
for group in (train, export, run, fit, energy, stream, demo, doctor):
    app.add_typer(group.app)
app.add_typer(train.recipes_app, name="recipes")
data.app.add_typer(send.app)
app.add_typer(data.app, name="data")


def main() -> None:
    """Entry point: exit code 0 done, 1 a check failed, 2 wrong use or bad input, 130 interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidied up like Ctrl-C
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="backslashreplace")  # a terminal that cannot show µ still gets its answer
    console.command_line = True
    try:
        code = app(standalone_mode=False)
        if code == 130:  # how typer gives KeyboardInterrupt back
            console.error("interrupted")
    except InputError as error:
        console.error(str(error))
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        console.error("interrupted")
        code = 130
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # `tmkt` alone: the message is the help; typer keeps the class to itself
            console.note(error.format_message())
        else:
            console.error(f"{error.format_message().rstrip('.')}; see: tmkt --help")
        code = 2
    except BrokenPipeError:
        sys.stderr.close()
        code = 1
    except MemoryError:
        console.error("not enough memory; use --limit, or a smaller batch, network or number of bins, or free some")
        code = 2
    except OSError as error:
        console.error(f"{error.filename or 'file'}: {error.strerror or error}; check the path, its permissions and the free space")
        code = 2
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"tmkt {__version__}")
        raise typer.Exit
