"""Options that were given and would have no effect."""

from __future__ import annotations

import typer


def refuse_given(context: typer.Context, why: str, *names: str) -> None:
    """Refuse options that would be passed over beside the others of a command.

    Parameters
    ----------
    context : typer.Context
        The command as it was called.
    why : str
        What follows the option's name in the message.
    names : str
        The options, as the command's parameters are called.

    Raises
    ------
    typer.BadParameter
        If one of them was given.
    """
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is not None and source.name == "COMMANDLINE":
            shown = max(parameter.opts, key=len)
            raise typer.BadParameter(f"{shown if shown.startswith('-') else shown.upper()} {why}")
