"""Commands at the edge of a space: import a collection of another program."""

from __future__ import annotations

from typing import Annotated

from isthmus.cli.options import JsonOption, OptionsOf, SpaceOption, Values, generate_options
from isthmus.cli.show import show_report
from isthmus.integrations.request import ImportRequest


@generate_options
def import_collection(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(ImportRequest, arguments=("source",))],
    as_json: JsonOption = False,
) -> None:
    """Make a space of an existing collection: files, FAISS, Qdrant or Chroma."""
    from isthmus.integrations.importing import import_collection

    report = import_collection(space, ImportRequest(**request), progress=True)
    show_report(report.as_dict(), as_json=as_json)
