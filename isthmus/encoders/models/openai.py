"""Remote encoders: a server that speaks ``/v1/embeddings``, as OpenAI's does.

vLLM, TEI, Infinity, Ollama, llama.cpp and hosted services speak it. What a server computes cannot
be digested as weights are. So a probe text is encoded when the encoder is first loaded; its vector
is part of the spec, and the server must give the same one whenever it is loaded again.
"""

from __future__ import annotations

import base64
import copy
import shlex
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import numpy as np

from isthmus.data.api_client import ApiClient, Malformed
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.prompts import known_prompts
from isthmus.errors import (
    FingerprintMismatch,
    InvalidInput,
    PartlyEncoded,
    ServiceError,
    ServiceRefusal,
    command_in,
)
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

PROBE_TEXT: Final = "An isthmus joins two lands that the sea keeps apart."
PROBE_VALUES: Final = 64
MIN_AGREEMENT: Final = 0.999  # cosine of probes: servers round differently by batch and by chip
MIN_NORM: Final = 1e-12
BYTES_PER_TOKEN: Final = 3  # fewer than in English, so that other languages fit too


@dataclass(frozen=True)
class Batching:
    """How texts are sent.

    Attributes
    ----------
    tokens : int
        Most tokens of a request, estimated from the bytes of its texts.
    texts : int
        Most texts of a request.
    requests : int
        Most requests at a time.
    """

    tokens: int = 16_384
    texts: int = 128
    requests: int = 4

    def batches(self, texts: Sequence[str]) -> Iterator[range]:
        """Yield consecutive positions of texts that fit into one request; one text always does.

        Examples
        --------
        >>> [list(rows) for rows in Batching(tokens=4).batches(["abc", "defghi", "a" * 99, "b"])]
        [[0, 1], [2], [3]]
        """
        start = tokens = 0
        for at, text in enumerate(texts):
            needed = 1 + len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN
            if at > start and (tokens + needed > self.tokens + 1 or at - start >= self.texts):
                yield range(start, at)
                start, tokens = at, 0
            tokens += needed
        if start < len(texts):
            yield range(start, len(texts))


@dataclass
class _Results:
    """What became of the texts of one call."""

    vectors: dict[int, FloatArray] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    failure: str = ""


class RemoteEncoder(Encoder):
    """Encodes texts on a server.

    Parameters
    ----------
    client : ApiClient
        Reaches the server.
    model : str
        Name of the model there.
    batching : Batching
        How texts are sent.
    dimensions : int, optional
        Length of vectors to ask the server for.
    probe : str, optional
        The probe that was recorded; the server must agree with it.

    Raises
    ------
    ServiceError
        If the server does not answer.
    FingerprintMismatch
        If it answers with the vector of another model than was recorded.
    """

    def __init__(
        self,
        client: ApiClient,
        model: str,
        batching: Batching,
        dimensions: int | None = None,
        probe: str | None = None,
    ) -> None:
        self._client, self._model, self._batching = client, model, batching
        self._dimensions = dimensions
        self._prompts = known_prompts(model)
        self._prompt = ""  # of the probe
        self._spec = ""
        self.modalities = frozenset({"text"})
        self.dim = dimensions or 0  # 0: as the answer to the probe has it
        vector = self._ask([PROBE_TEXT])[0]
        self.dim = len(vector)
        self._prompt = self._prompts.document
        self.probe = probe or _encode_probe(vector)
        if probe is not None:
            self._require_agreement(vector, probe)

    @property
    def spec(self) -> str:
        """The argument of `load_encoder` that loads the encoder again, with the probe."""
        separator = "&" if "?" in self._spec else "?"
        has_probe = "probe=" in self._spec
        return self._spec if has_probe else f"{self._spec}{separator}probe={quote(self.probe)}"

    @spec.setter
    def spec(self, spec: str) -> None:
        self._spec = spec

    @property
    def components(self) -> Mapping[str, str]:
        """The model's name, length of vectors, probe and prompts; not the address."""
        prompts = {f"text.{name}": value for name, value in self._prompts.components.items()}
        model = {"kind": "openai", "model": self._model, "dim": str(self.dim)}
        return {**model, "probe": self.probe, **prompts}

    def set_prompts(self, prompts: Mapping[str, str]) -> None:
        """Set what precedes the texts of each role."""
        self._prompts = self._prompts.replaced(prompts)
        self._prompt = self._prompts.document

    def for_queries(self, instruction: str | None = None) -> Encoder:
        """Return the encoder of queries: with the prompt of queries before each text."""
        prompts = self._prompts
        if instruction is not None:
            if not prompts.takes_instructions:
                super().for_queries(instruction)  # raises
            prompts = prompts.instructed(instruction)
        encoder = copy.copy(self)
        encoder._prompt = prompts.query
        return encoder

    def embed(self, prepared: Sequence[Any], modality: Modality) -> FloatArray:
        """Encode texts, to (n, dim): several requests at a time, each again until it is answered.

        Raises
        ------
        PartlyEncoded
            If the server refuses a text, or answers no more; it has what was encoded.
        """
        del modality
        texts = [f"{self._prompt}{text}" for text in prepared]
        results = _Results()
        with ThreadPoolExecutor(self._batching.requests) as threads:
            parts = list(self._batching.batches(texts))
            list(threads.map(lambda rows: self._encode_part(texts, rows, results), parts))
        if results.failure or results.refused:
            first = next(iter(results.refused.items()), None)
            message = results.failure or f"text {first and first[0]}: {first and first[1]}"
            raise PartlyEncoded(
                message, results.vectors, results.refused, is_over=bool(results.failure)
            )
        return np.stack([results.vectors[at] for at in range(len(texts))])

    def _encode_part(self, texts: Sequence[str], rows: range, results: _Results) -> None:
        """Encode some texts; of those that the server refuses together, each half again."""
        if results.failure:  # of another request: the server answers no more
            return
        try:
            vectors = self._ask([texts[at] for at in rows])
            results.vectors |= zip(rows, vectors, strict=True)
        except ServiceRefusal as refusal:
            if len(rows) == 1:
                results.refused[rows[0]] = str(refusal)
                return
            half = len(rows) // 2
            self._encode_part(texts, rows[:half], results)
            self._encode_part(texts, rows[half:], results)
        except ServiceError as error:
            results.failure = str(error)

    def _ask(self, texts: Sequence[str]) -> FloatArray:
        """Return the vectors of one request, shape (n, dim), at unit norm."""
        payload: dict[str, Any] = {"model": self._model, "input": list(texts)}
        if self._dimensions is not None:
            payload["dimensions"] = self._dimensions

        def read(answer: Any) -> FloatArray:
            return self._vectors_of(answer, len(texts))

        return self._client.post("embeddings", payload, read)

    def _vectors_of(self, answer: Any, count: int) -> FloatArray:
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, list) or not all(isinstance(one, dict) for one in data):
            raise Malformed("answered JSON without a list of data")
        if len(data) != count:
            raise Malformed(f"answered {len(data)} vectors for {count} texts")
        places = [one.get("index", at) for at, one in enumerate(data)]
        if sorted(map(str, places)) != sorted(map(str, range(count))):
            raise Malformed("answered vectors whose indexes are not those of the texts")
        rows = [_numbers(data[places.index(at)].get("embedding")) for at in range(count)]
        lengths = {len(row) for row in rows}
        if len(lengths) != 1 or (self.dim and lengths != {self.dim}):
            expected = f", and not {self.dim}" if self.dim else ""
            shown = ", ".join(map(str, sorted(lengths)))
            raise Malformed(f"answered vectors of {shown} numbers{expected}")
        matrix = np.stack(rows)
        norms = np.linalg.norm(matrix, axis=1, keepdims=True)
        bad = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > MIN_NORM)))
        if len(bad):
            raise Malformed(f"answered a vector of norm {norms[bad[0], 0]:g} for text {bad[0]}")
        return np.asarray(matrix / norms, np.float32)

    def _require_agreement(self, vector: FloatArray, probe: str) -> None:
        recorded = decode_probe(probe)
        agreement = probe_agreement(recorded, vector[: len(recorded)])
        if agreement < MIN_AGREEMENT:
            spec = f"openai/{self._model}?base_url={self._client.base_url}"
            raise FingerprintMismatch(
                f"{self._client.base_url} has another model behind the name {self._model!r} now: "
                f"its vector of a probe text has cosine {agreement:.4f} with the recorded one. "
                "Start the model that made this space, or migrate the space to this one with: "
                f"{command_in(None, f'reembed --text-encoder {shlex.quote(spec)}')}"
            )


def load_openai(
    name: str,
    *,
    base_url: str | None = None,
    key_env: str = "OPENAI_API_KEY",
    dimensions: str | None = None,
    batch_tokens: str = "16384",
    batch_texts: str = "128",
    concurrency: str = "4",
    timeout: str = "60",
    retries: str = "5",
    probe: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    compile: bool = False,
) -> Encoder:
    """Load an encoder of texts that runs on a server.

    Parameters
    ----------
    name : str
        Name of the model on the server.
    base_url : str
        Address, such as ``http://host:8000/v1``.
    key_env : str
        Environment variable of the key.
    dimensions : str, optional
        Length of vectors to ask for, where the server offers several.
    batch_tokens, batch_texts, concurrency : str
        Most estimated tokens and texts of a request, and requests at a time.
    timeout, retries : str
        Most seconds for an answer, and how often a request is repeated.
    probe : str, optional
        Recorded by the space.
    device, precision, compile
        Have no effect: the server decides.

    Raises
    ------
    InvalidInput
        If an option is not valid.
    ServiceError
        If the server does not answer.
    FingerprintMismatch
        If it has another model than the probe records.
    """
    del device, precision, compile
    if base_url is None:
        raise InvalidInput(f"say where the model is: openai/{name}?base_url=http://host:8000/v1")
    client = ApiClient(
        base_url,
        key_env,
        timeout_s=_number("timeout", timeout, 0.1),
        retries=int(_number("retries", retries, 0)),
    )
    batching = Batching(
        int(_number("batch_tokens", batch_tokens, 1)),
        int(_number("batch_texts", batch_texts, 1)),
        int(_number("concurrency", concurrency, 1)),
    )
    length = None if dimensions is None else int(_number("dimensions", dimensions, 1))
    return RemoteEncoder(client, name, batching, length, probe=probe)


def _number(name: str, text: str, least: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not number >= least:
        raise InvalidInput(f"{name} is {text!r}; give a number from {least:g}")
    return number


def _numbers(embedding: Any) -> FloatArray:
    """Return an embedding: a list of numbers, or base64 of float32 in little-endian order."""
    try:
        if isinstance(embedding, str):
            return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4")
        if not isinstance(embedding, list) or not embedding:
            raise ValueError
        return np.asarray(embedding, np.float32).reshape(len(embedding))
    except (ValueError, TypeError) as error:
        raise Malformed("answered an embedding that is no list of numbers") from error


def _encode_probe(vector: FloatArray) -> str:
    """Return the first values of a unit vector as text."""
    return base64.urlsafe_b64encode(vector[:PROBE_VALUES].astype("<f2").tobytes()).decode()


def decode_probe(probe: str) -> FloatArray:
    """Return the values of a recorded probe, float32, shape (n_values,)."""
    try:
        return np.frombuffer(base64.urlsafe_b64decode(probe), "<f2").astype(np.float32)
    except ValueError as error:
        raise InvalidInput("the option probe is damaged; leave it out") from error


def probe_agreement(recorded: FloatArray, present: FloatArray) -> float:
    """Return the cosine of two probes, each of shape (n_values,); 0 where their lengths differ."""
    if recorded.shape != present.shape:
        return 0.0
    norms = float(np.linalg.norm(recorded) * np.linalg.norm(present))
    return float(recorded @ present) / max(norms, MIN_NORM)
