"""How a CSV is written, where that is known; a module without heavy imports."""

from __future__ import annotations

from dataclasses import dataclass

from isthmus.errors import InvalidInput

NO_QUOTE = "none"


@dataclass(frozen=True)
class CsvOptions:
    r"""How a CSV is written; what is None is found out.

    Parameters
    ----------
    delimiter : str, optional
        The character between values; ``\t`` or ``tab`` for a tab.
    encoding : str, optional
        The encoding, such as ``utf-8`` or ``cp1252``.
    quote : str, optional
        The character around values that hold a delimiter, or ``none`` where quotes mean nothing.
    null_values : tuple of str
        Texts that stand for a missing value, beside the empty one; not in columns of ids.
    """

    delimiter: str | None = None
    encoding: str | None = None
    quote: str | None = None
    null_values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.delimiter is not None:
            delimiter = {"\\t": "\t", "tab": "\t"}.get(self.delimiter, self.delimiter)
            if len(delimiter) != 1 or delimiter in '"\r\n':
                raise InvalidInput(
                    f"delimiter is {self.delimiter!r}; give one character, or tab for a tab"
                )
            object.__setattr__(self, "delimiter", delimiter)
        if self.quote is not None and self.quote != NO_QUOTE and len(self.quote) != 1:
            raise InvalidInput(f"quote is {self.quote!r}; give one character, or {NO_QUOTE}")
        if self.encoding is not None:
            try:
                "".encode(self.encoding)
            except LookupError as error:
                raise InvalidInput(
                    f"there is no encoding {self.encoding!r}; give one such as utf-8 or cp1252"
                ) from error


DEFAULTS = CsvOptions()
