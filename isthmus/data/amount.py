"""Amounts: a number of things, or a share of them."""

from __future__ import annotations

from dataclasses import dataclass

from isthmus.errors import InvalidInput


@dataclass(frozen=True)
class Amount:
    """A number of things, or a share of them.

    Attributes
    ----------
    value : int or float
        The number, or, as a float, the share.
    """

    value: int | float

    @classmethod
    def parse(cls, given: str | float, name: str) -> Amount:
        """Read ``5%``, a whole number, or a share from 0 to 1.

        Raises
        ------
        InvalidInput
            If it is none of these; the message has the name.

        Examples
        --------
        >>> Amount.parse("5%", "max_delete"), Amount.parse(20, "max_delete")
        (Amount(value=0.05), Amount(value=20))
        """
        text = str(given).strip()
        try:
            value = float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
        except ValueError:
            value = -1.0
        is_share = text.endswith("%") or not text.isdecimal()
        if not 0 <= value < float("inf") or (is_share and value > 1):
            raise InvalidInput(
                f"{name} is {given!r}; give a share such as 5%, or a number of items"
            )
        return cls(value if is_share else int(value))

    def of(self, total: int) -> int:
        """Return the number of things among a total.

        Examples
        --------
        >>> Amount(0.05).of(119), Amount(20).of(119)
        (5, 20)
        """
        return int(self.value * total) if isinstance(self.value, float) else self.value

    def __str__(self) -> str:
        return f"{100 * self.value:g}%" if isinstance(self.value, float) else f"{self.value:,}"
