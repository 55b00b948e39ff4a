"""Group of commands whose help shows each summary whole."""

from typing import TYPE_CHECKING

from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer import Context
    from typer._click import HelpFormatter

WHOLE = 10_000  # letters: no summary is as long


class Group(TyperGroup):
    """A group that wraps summaries where typer cuts them."""

    def format_commands(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """List the commands."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, command.get_short_help_str(WHOLE)) for name, command in found if command]
            )
