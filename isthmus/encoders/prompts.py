"""Prompts: texts that a model was trained to find in front of queries and of documents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from isthmus.encoders.encoder import ROLES, Role
from isthmus.errors import InvalidInput

INSTRUCTION: Final = "{instruction}"
OPTIONS: Final[Mapping[str, Role]] = {f"{role}_prompt": role for role in ROLES}
"""Role of each option of a spec that sets a prompt."""

_COMPONENT = "prompt."
_INSTRUCTED = re.compile(r"(Instruct: |task: )(.+?)(\s*\n.+| \| query: )", re.DOTALL)
_WEB_SEARCH = "Given a web search query, retrieve relevant passages that answer the query"
_REPRESENT = "Represent this sentence for searching relevant passages: "
_REPRESENT_ZH = "为这个句子生成表示以用于检索相关文章："  # noqa: RUF001


@dataclass(frozen=True)
class Prompts:
    """The prompts of a model of text.

    Attributes
    ----------
    query, document : str
        What precedes a text of this role; empty for nothing.
    template : str
        Prompt of a query with an instruction, which takes the place of ``{instruction}``; empty
        for a model that follows none.
    """

    query: str = ""
    document: str = ""
    template: str = ""

    @property
    def components(self) -> dict[str, str]:
        """The prompts that are not empty, by the name of an encoder's component."""
        named = {"query": self.query, "document": self.document}
        return {f"{_COMPONENT}{role}": prompt for role, prompt in named.items() if prompt}

    @property
    def takes_instructions(self) -> bool:
        """Whether there is a prompt with a place for an instruction."""
        return bool(self.template)

    def instructed(self, instruction: str) -> Prompts:
        r"""Return the prompts with an instruction for queries.

        Raises
        ------
        InvalidInput
            If the instruction is empty.

        Examples
        --------
        >>> Prompts(template="Instruct: {instruction}\nQuery:").instructed("Find shoes").query
        'Instruct: Find shoes\nQuery:'
        """
        if not instruction.strip():
            raise InvalidInput(
                "the instruction is empty; write what to search for, or leave it out"
            )
        return replace(self, query=self.template.replace(INSTRUCTION, instruction))

    def replaced(self, prompts: Mapping[str, str]) -> Prompts:
        """Return the prompts with some replaced, by role.

        A prompt of queries with ``{instruction}`` in it becomes the template, too.

        Raises
        ------
        InvalidInput
            If a role is unknown, or a prompt is empty.
        """
        for role, prompt in prompts.items():
            if role not in ROLES:
                raise InvalidInput(f"unknown role {role!r}; use one of {', '.join(ROLES)}")
            if not prompt.strip():
                raise InvalidInput(
                    f"the prompt of a {role} is empty; give its text, or leave {role}_prompt "
                    f"(--{role}-prompt) out"
                )
        query = prompts.get("query", "")
        if INSTRUCTION not in query:
            return replace(self, **prompts)
        return replace(self, **{**prompts, "query": ""}, template=query)


NO_PROMPTS: Final = Prompts()


def without_prompts(components: Mapping[str, str]) -> dict[str, str]:
    """Return components without those of prompts."""
    return {name: value for name, value in components.items() if not name.startswith(_COMPONENT)}


def template_of(query_prompt: str) -> str:
    r"""Return the prompt of a query with an instruction, by the form of that without one.

    Examples
    --------
    >>> template_of("Instruct: Find passages\nQuery:")
    'Instruct: {instruction}\nQuery:'
    >>> template_of("task: search result | query: "), template_of("query: ")
    ('task: {instruction} | query: ', '')
    """
    form = _INSTRUCTED.fullmatch(query_prompt)
    return f"{form[1]}{INSTRUCTION}{form[3]}" if form else ""


_INSTRUCT: Final = Prompts(
    query=f"Instruct: {_WEB_SEARCH}\nQuery: ", template=f"Instruct: {INSTRUCTION}\nQuery: "
)
_KNOWN: Final[tuple[tuple[re.Pattern[str], Prompts], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), prompts)
    for pattern, prompts in (
        (r"(e5-\w+-instruct|e5-mistral|gte-qwen2.*instruct)", _INSTRUCT),
        (
            r"qwen3-embedding",
            Prompts(
                query=f"Instruct: {_WEB_SEARCH}\nQuery:",
                template=f"Instruct: {INSTRUCTION}\nQuery:",
            ),
        ),
        (r"(^|-)e5-(small|base|large)", Prompts(query="query: ", document="passage: ")),
        (
            r"embedding-?gemma",
            Prompts(
                query="task: search result | query: ",
                document="title: none | text: ",
                template=f"task: {INSTRUCTION} | query: ",
            ),
        ),
        (
            r"(nomic-embed-text|modernbert-embed)",
            Prompts(query="search_query: ", document="search_document: "),
        ),
        (r"bge-(small|base|large)-zh", Prompts(query=_REPRESENT_ZH)),
        (r"bge-(small|base|large)-en", Prompts(query=_REPRESENT)),
        (r"mxbai-embed", Prompts(query=_REPRESENT)),
        (r"snowflake-arctic-embed-.*v2", Prompts(query="query: ")),
        (r"snowflake-arctic-embed", Prompts(query=_REPRESENT)),
    )
)


def known_prompts(name: str) -> Prompts:
    """Return the prompts of a published family of models, by the last part of a name or path.

    Its authors state them in the model's card, and not always in its configuration.

    Examples
    --------
    >>> known_prompts("intfloat/multilingual-e5-small").document
    'passage: '
    >>> known_prompts("sentence-transformers/all-MiniLM-L6-v2")
    Prompts(query='', document='', template='')
    """
    last = name.rstrip("/").rpartition("/")[2]
    return next((prompts for pattern, prompts in _KNOWN if pattern.search(last)), NO_PROMPTS)
