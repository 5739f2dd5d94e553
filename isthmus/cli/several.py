"""Commands whose options take several values after one name: ``--protocols cold few1 warm``."""

from __future__ import annotations

import typer
from typer.core import TyperCommand


class SeveralValues(TyperCommand):
    """A command without arguments, so that bare words belong to the option before them."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Repeat the name of an option before each of its values, then parse as ever."""
        names = {o for p in self.params if getattr(p, "multiple", False) for o in p.opts}
        return super().parse_args(ctx, _repeated(args, names))


def _repeated(arguments: list[str], names: set[str]) -> list[str]:
    """Repeat names.

    Examples
    --------
    >>> _repeated(["--all", "a", "b", "--one", "c", "d"], {"--all"})
    ['--all', 'a', '--all', 'b', '--one', 'c', 'd']
    """
    out: list[str] = []
    name = None
    for argument in arguments:
        if argument.startswith("-"):
            name = argument if argument in names else None
        elif name is not None and out[-1] != name:
            out.append(name)
        out.append(argument)
    return out
