from __future__ import annotations

import pytest

from isthmus.data.template import TextTemplate
from isthmus.errors import InvalidMapping


@pytest.mark.parametrize(
    ("template", "row", "text"),
    [
        ("{title}. {genres}", {"title": "Up", "genres": ["a", "b"]}, "Up. a, b"),
        ("{title}. {genres}", {"title": "Up", "genres": []}, "Up"),
        ("{title}. {genres}", {"title": None, "genres": "noir"}, "noir"),
        ("{title}. {genres}", {"title": " ", "genres": None}, None),
        ("title", {"title": "Up"}, "Up"),
        ("{year}: {title}", {"year": 1999, "title": "Up"}, "1999: Up"),
        ("{{{title}}}", {"title": "Up"}, "{Up}"),
        ("A film called {title}", {"title": "Up"}, "A film called Up"),
        ("A film called {title}", {"title": None}, None),
    ],
)
def test_a_template_renders_the_fields_that_have_values(template, row, text):
    assert TextTemplate(template).render(row) == text


@pytest.mark.parametrize("template", ["{title", "{}", "{title:>5}", "{title!r}"])
def test_a_malformed_template_is_refused(template):
    with pytest.raises(InvalidMapping, match="template"):
        TextTemplate(template)
