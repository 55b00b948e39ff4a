"""Group of commands whose help shows each summary whole."""

from typing import Any

from typer.core import TyperGroup

WHOLE = 10_000  # letters: no summary is as long


class Group(TyperGroup):
    """A group that wraps summaries where typer cuts them."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # typer keeps the types to itself
        """List the commands."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, command.get_short_help_str(WHOLE)) for name, command in found if command]
            )
