"""The ``isthmus`` command: every method of `isthmus.Space` is a command of the same name."""

from __future__ import annotations

import sys
import warnings
from contextvars import copy_context
from importlib import import_module
from importlib.abc import MetaPathFinder

from isthmus.cli.commands import build_app
from isthmus.errors import IsthmusError, IsthmusWarning
from isthmus.terminal import say, shortened, tolerate_encodings

INTERRUPTED = 130
_show_other = warnings.showwarning


def console() -> None:
    """Run the command in a process of its own."""
    if len(sys.argv) > 2 and "--help" not in sys.argv:
        _import_arrow_without_pandas()
    main(sys.argv[1] if len(sys.argv) > 1 else None)


def _import_arrow_without_pandas() -> None:
    """Import Arrow so that it does not import pandas, which takes 0.3 s and 50 MB.

    Arrow imports pandas, where that is installed, at its first value, to recognise frames. A
    command has no frames. What needs pandas itself can still import it afterwards.
    """

    class NoPandas(MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> None:
            if name == "pandas":
                raise ModuleNotFoundError("not for Arrow in a command", name=name)

    hiding = NoPandas()
    sys.meta_path.insert(0, hiding)
    try:
        import_module("pyarrow.dataset")
    finally:
        sys.meta_path.remove(hiding)


def main(only: str | None = None) -> None:
    """Run the command; what goes wrong becomes one line on standard error and exit code 1.

    Parameters
    ----------
    only : str, optional
        The command, where it is known: no other is imported.
    """
    tolerate_encodings()
    with warnings.catch_warnings():
        warnings.simplefilter("always", IsthmusWarning)
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        copy_context().run(_run, only)  # the server and the space that it is given end with it


def _run(only: str | None) -> None:
    try:
        build_app(only)()
    except (IsthmusError, OSError) as error:
        sys.exit(_complain(str(error)))
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            _complain("interrupted; what was finished is stored, run the same command to go on")
        raise


def _complain(message: str) -> int:
    say(f"isthmus: {shortened(message)}", err=True, colour="red")
    return 1


def _show_warning(message: Warning | str, category: type[Warning], *place: object) -> None:
    """Show a note of ours as a line, and another library's warning as Python does."""
    if issubclass(category, IsthmusWarning):
        say(f"note: {shortened(str(message))}", err=True, colour="yellow")
    else:
        _show_other(message, category, *place)  # type: ignore[arg-type]
