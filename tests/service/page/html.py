"""HTML of the page, read as a browser reads it: elements with their attributes and text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset(
    {"br", "hr", "img", "input", "link", "meta", "col", "path", "rect", "circle", "line"}
)


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    pieces: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text of it, white space made one blank."""
        parts = (piece if isinstance(piece, str) else piece.text for piece in self.pieces)
        return " ".join(" ".join(parts).split())

    def __iter__(self) -> Iterator[Element]:
        """Iterate over it and what it holds, in the order of the document."""
        yield self
        for piece in self.pieces:
            if isinstance(piece, Element):
                yield from piece

    def all(self, tag: str, **attributes: str) -> list[Element]:
        given = {name.rstrip("_"): value for name, value in attributes.items()}
        return [
            element
            for element in self
            if element.tag == tag
            and all(element.attributes.get(name) == value for name, value in given.items())
        ]

    def one(self, tag: str, **attributes: str) -> Element:
        (found,) = self.all(tag, **attributes)
        return found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("document", {})
        self.open = [self.root]

    def handle_starttag(self, tag, attrs):
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].pieces.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.open[-1].pieces.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        # Every template closes what it opens, in order.
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data):
        self.open[-1].pieces.append(data)


def read(text: str) -> Element:
    """Return a document; fails where an element is not closed."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert [element.tag for element in reader.open] == ["document"]
    return reader.root
