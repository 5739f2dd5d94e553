"""Cross-encoders: models that read a query and a text together and give one score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from isthmus.encoders.backends.runtime import Runtime
from isthmus.encoders.hub import ModelSource
from isthmus.encoders.models.sentence_parts import (
    CROSS_ENCODER,
    SentenceModel,
    readable_texts,
    settings_of,
)
from isthmus.errors import UnknownEncoder
from isthmus.numerics.arrays import FloatArray


class CrossEncoder(SentenceModel):
    """A cross-encoder of Sentence Transformers; see `SentenceModel` for the attributes."""

    kind: ClassVar[str] = "cross-encoder"
    type_name: ClassVar[str] = CROSS_ENCODER
    gives: ClassVar[str] = "one score for two texts, such as cross-encoder/ms-marco-MiniLM-L6-v2"
    untyped: ClassVar[tuple[str, ...]] = ("ForCausalLM",)  # the score of "yes" against "no"

    def __init__(self, model: Any, source: ModelSource, runtime: Runtime) -> None:
        super().__init__(model, source, runtime)
        self.components["activation"] = type(model.activation_fn).__name__

    def score(self, query: str, texts: Sequence[str]) -> FloatArray:
        """Return how relevant texts are to a query, as ``CrossEncoder.predict`` does.

        Equal texts have equal scores.

        Returns
        -------
        numpy.ndarray
            float32, shape (len(texts),); higher is better.

        Raises
        ------
        InvalidInput
            If a text cannot be written in UTF-8.
        """
        # A score depends in its last digits on the batch, so each text is in one batch only.
        distinct, inverse = np.unique(np.array(texts, object), return_inverse=True)
        (readable,) = readable_texts([query])
        pairs = [(readable, text) for text in readable_texts(distinct.tolist())]
        with self.runtime.inference():
            scores = self.model.predict(pairs, show_progress_bar=False)
        return np.asarray(scores, np.float32).reshape(len(pairs))[inverse]

    @classmethod
    def _find(
        cls, name: str, spec: str, revision: str | None, trust_remote_code: str | None
    ) -> ModelSource:
        source = super()._find(name, spec, revision, trust_remote_code)
        # The organisation is a part of the names of its models, as in cross-encoder/ms-marco-….
        is_short = not source.local and "/" not in name
        return source._replace(name=spec) if is_short else source

    @classmethod
    def _check_source(cls, source: ModelSource, spec: str) -> None:
        super()._check_source(source, spec)
        _refuse_unknown_activation(source, spec)

    @classmethod
    def _check_model(cls, model: Any, spec: str) -> None:
        if model.num_labels != 1:
            raise UnknownEncoder(
                f"{spec!r} gives {model.num_labels} scores to a pair of texts; give a model of "
                "one score, the relevance (num_labels=1)"
            )


def _refuse_unknown_activation(source: ModelSource, spec: str) -> None:
    """Refuse a model that applies code of its own to the scores.

    The library applies something else in its place, with a warning.
    """
    config = settings_of(source, "config.json")
    stated = [
        settings_of(source, "config_sentence_transformers.json").get("activation_fn"),
        (config.get("sentence_transformers") or {}).get("activation_fn"),
        config.get("sbert_ce_default_activation_function"),
    ]
    for name in stated:
        if name is not None and not source.trusted and not name.startswith("torch."):
            raise UnknownEncoder(
                f"{spec!r} applies {name} to its scores, code that Isthmus does not run unasked; "
                "if you have read and trust it, give trust_remote_code=true"
            )
