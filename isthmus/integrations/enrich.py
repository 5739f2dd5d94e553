"""Enrich: a chat model writes a description and typed attributes of items.

What it writes goes into attributes that begin with ``ai_``; ``ai_source`` says which model and
which prompt. Answers are cached by the digest of model, prompt, form and item, so that an
interrupted run goes on, and `unenrich` takes everything back.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from isthmus.data.domain_mapping import DomainMapping
from isthmus.digests import digest
from isthmus.durable import make_folder, write_atomically
from isthmus.encoders.models.chat import ChatModel, answer_schema
from isthmus.errors import InvalidInput, MalformedAnswer, ServiceError, ServiceRefusal, command_in
from isthmus.files import (
    with_checksum,
    with_line_checksum,
    without_checksum,
    without_line_checksum,
)
from isthmus.index.catalog.content_encoding import batched
from isthmus.index.catalog.lock import write_lock
from isthmus.integrations.request import EnrichRequest
from isthmus.progress import progress_bar
from isthmus.space import Space

FOLDER: Final = "enrichment"
ANSWERS: Final = "answers.jsonl"
PREFIX: Final = "ai_"
DESCRIPTION: Final = f"{PREFIX}description"
SOURCE: Final = f"{PREFIX}source"
ROWS: Final = 64  # items that are asked for between two commits
OVER_BUDGET: Final = "over budget"
MAX_VALUE: Final = 4_000  # characters of a value that is sent


@dataclass
class EnrichReport:
    """What an enrichment did, or would do.

    Attributes
    ----------
    items : int
        Items that the filter selects.
    cached : int
        Of these, those whose answer was there.
    written : int
        Items that got what the model wrote.
    failed : dict of str to str
        Items that the model gave no proper answer for, and why.
    left : int
        Items that the budget did not suffice for.
    estimated_tokens : int
        Tokens of all items without an answer, at most, by estimate.
    used_tokens : int
        Tokens that were used.
    dry_run : bool
        Whether no model was called.
    """

    items: int = 0
    cached: int = 0
    written: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    left: int = 0
    estimated_tokens: int = 0
    used_tokens: int = 0
    dry_run: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


def enrich(space: Space, request: EnrichRequest, *, progress: bool = False) -> EnrichReport:
    """Have a chat model write a description and attributes of items.

    Raises
    ------
    InvalidInput
        If the prompt cannot be read, a field is not valid, or the budget is missing.
    ServiceError
        If the server does not answer; what it answered before is stored.
    """
    return _Enrichment(space, request).run(progress=progress)


class _Enrichment:
    def __init__(self, space: Space, request: EnrichRequest) -> None:
        self._space, self._request = space, request
        self._model = ChatModel.load(request.model)
        self._prompt = _read_prompt(request.prompt_file)
        self._schema = answer_schema(request.fields or {})
        form = json.dumps(self._schema.model_json_schema(), sort_keys=True)
        self._source = f"openai/{self._model.name} prompt {digest(self._prompt).hex()[:12]}"
        self._key = f"{self._model.name}\n{self._prompt}\n{form}\n"
        self._cache = AnswerCache(space.path / FOLDER / ANSWERS)
        self.report = EnrichReport(dry_run=request.dry_run)

    def run(self, *, progress: bool) -> EnrichReport:
        report = self.report
        ids = list(self._space.ids(self._request.domain, self._request.where))
        report.items = len(ids)
        if self._request.dry_run:
            for part in batched(ids, ROWS):
                self._asked(part)
            return report
        if self._request.text:
            _extend_texts(self._space, self._request.domain)
        try:
            with progress_bar("enriching", len(ids), show=progress) as advance:
                for part in batched(ids, ROWS):
                    self._enrich(part)
                    advance(len(part))
        finally:
            report.used_tokens = self._model.tokens.used
        return report

    def _asked(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return what is sent of the items without an answer; count the others."""
        requests = {}
        for item in self._space.get(list(ids)):
            data = _data_of(item)
            if self._cache.get(self._key_of(data)) is not None:
                self.report.cached += 1
            else:
                requests[item["item_id"]] = data
                self.report.estimated_tokens += self._model.estimate(self._prompt, data)
        return requests

    def _enrich(self, ids: Sequence[str]) -> None:
        requests = self._asked(ids)
        failure: ServiceError | None = None
        with ThreadPoolExecutor(self._request.concurrency) as threads:
            for item_id, why in zip(
                requests, threads.map(self._ask, requests.values()), strict=True
            ):
                if why == OVER_BUDGET:
                    self.report.left += 1
                elif isinstance(why, MalformedAnswer | ServiceRefusal):
                    self.report.failed[item_id] = str(why)
                elif isinstance(why, ServiceError):
                    failure = why
        self._write(ids)
        if failure is not None:
            raise failure

    def _ask(self, data: Mapping[str, Any]) -> ServiceError | str:
        """Ask for one item; return what went wrong, empty if nothing did."""
        expected = self._model.estimate(self._prompt, data)
        if not self._model.tokens.reserve(expected, self._request.budget):
            return OVER_BUDGET
        try:
            answer = self._model.ask(self._prompt, data, self._schema)
        except ServiceError as error:
            return error
        finally:
            self._model.tokens.release(expected)
        self._cache.add(self._key_of(data), answer)
        return ""

    def _write(self, ids: Sequence[str]) -> None:
        rows = []
        for item in self._space.get(list(ids)):
            answer = self._cache.get(self._key_of(_data_of(item)))
            if answer is not None:
                values = {f"{PREFIX}{name}": value for name, value in answer.items()}
                rows.append({"item_id": item["item_id"], **values, SOURCE: self._source})
        if rows:
            self._space.update(rows)
            self.report.written += len(rows)

    def _key_of(self, data: Mapping[str, Any]) -> str:
        return digest(self._key + json.dumps(data, sort_keys=True, default=str)).hex()


class AnswerCache:
    """Answers of a model, a line each with its checksum, by the digest of the question.

    Parameters
    ----------
    path : Path
        The file; a line that is damaged, or that a crash cut off, is passed over.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._answers = dict(_stored_answers(path))

    def get(self, key: str) -> dict[str, Any] | None:
        """Return an answer, None if there is none."""
        return self._answers.get(key)

    def add(self, key: str, answer: BaseModel) -> None:
        """Store an answer."""
        values = answer.model_dump()
        make_folder(self._path.parent)
        with self._lock, self._path.open("ab") as file:
            file.write(b"\n" + with_line_checksum(json.dumps([key, values])))
        self._answers[key] = values


def _stored_answers(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if not path.exists():
        return
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            key, values = json.loads(without_line_checksum(line))
        except ValueError:
            continue
        yield key, values


def unenrich(space: Space, domain: str) -> list[str]:
    """Drop what models wrote about the items of a domain, and make its texts what they were.

    Cached answers stay, so that the same enrichment costs nothing again.

    Returns
    -------
    list of str
        The attributes that were dropped.
    """
    former = space.path / FOLDER / f"{digest(domain).hex()}.json"
    if former.exists():
        template = _read_template(former)
        _set_template(space, domain, template)
        _render_again(space, domain, template)
        former.unlink()
    names = [a["attribute"] for a in space.attributes(domain)]
    written = [name for name in names if name.startswith(PREFIX)]
    if SOURCE not in written:
        return []
    # The source comes last: while it is there, a run that was killed can be repeated.
    for name in sorted(written, key=lambda name: name == SOURCE):
        space.drop_attribute(domain, name)
    return written


def _read_template(file: Path) -> str:
    try:
        return str(without_checksum(file.read_bytes())["text"])
    except (ValueError, KeyError) as error:
        raise InvalidInput(
            f"{file} is damaged; remove it, and give the domain its text again with: "
            f"{command_in(None, 'upsert FILES --text TEMPLATE --remap')}"
        ) from error


def _extend_texts(space: Space, domain: str) -> None:
    """Let the texts of a domain end with the description, from the next update of it on."""
    mapping = space.opened.catalog.snapshot().mappings.get(domain, DomainMapping())
    template = mapping.text
    if template is None or "{" not in template:
        raise InvalidInput(
            f"the text of {domain} is the column {template or 'text'!r} as it stands, so a "
            "description cannot be added to it; give the domain a template, such as "
            '--text "{title}. {genres}" --remap'
        )
    if f"{{{DESCRIPTION}}}" not in template:
        folder = make_folder(space.path / FOLDER)
        former = folder / f"{digest(domain).hex()}.json"
        write_atomically(former, with_checksum(json.dumps({"text": template})))
        _set_template(space, domain, f"{template}. {{{DESCRIPTION}}}")


def _set_template(space: Space, domain: str, template: str) -> None:
    opened = space.opened
    with write_lock(space.path, "catalog", opened.wait_s):
        mapping = opened.catalog.snapshot().mappings.get(domain, DomainMapping())
        opened.catalog.remember({domain: mapping.joined(DomainMapping(text=template))})


def _render_again(space: Space, domain: str, template: str) -> None:
    """Make the texts of a domain anew, out of the attributes that they are made of."""
    names = [a["attribute"] for a in space.attributes(domain)]
    column = next(name for name in names if f"{{{name}}}" in template)
    for part in batched(space.ids(domain), ROWS):
        items = space.get(list(part))
        space.update([{"item_id": i["item_id"], column: i["attributes"][column]} for i in items])


def _data_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is sent of an item: its domain and attributes, or its text if it has none."""
    attributes = {
        name: value
        for name, value in item["attributes"].items()
        if value is not None and not name.startswith(PREFIX)
    }
    data = attributes or {"text": item["text"]}
    return {
        "domain": item["domain"],
        **{name: v[:MAX_VALUE] if isinstance(v, str) else v for name, v in data.items()},
    }


def _read_prompt(path: Path) -> str:
    try:
        prompt = path.read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read the prompt {path}: {error}") from error
    if not prompt:
        raise InvalidInput(f"the prompt {path} is empty; say what to write about an item")
    return prompt
