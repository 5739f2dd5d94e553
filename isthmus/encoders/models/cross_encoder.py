"""Cross-encoders: models that read a query and a text together and give one score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from isthmus.encoders.backends.runtime import choose_runtime
from isthmus.encoders.hub import ModelSource, explain_load_errors, find_source
from isthmus.encoders.models.sentence_parts import (
    CROSS_ENCODER,
    SentenceModel,
    architectures,
    load_model,
    readable_texts,
    require_library,
    set_max_length,
    settings_of,
    type_of,
)
from isthmus.errors import UnknownEncoder
from isthmus.numerics.arrays import FloatArray

KIND: Final = "cross-encoder"


class CrossEncoder(SentenceModel):
    """A cross-encoder of Sentence Transformers; see `SentenceModel` for the attributes."""

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
        (asked,) = readable_texts([query])
        pairs = [(asked, text) for text in readable_texts(distinct.tolist())]
        with self.runtime.inference():
            scores = self.model.predict(pairs, show_progress_bar=False)
        return np.asarray(scores, np.float32).reshape(len(pairs))[inverse]


def load_cross_encoder(
    name: str,
    *,
    max_length: str | None = None,
    revision: str | None = None,
    trust_remote_code: str | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> CrossEncoder:
    """Load a cross-encoder.

    Parameters
    ----------
    name : str
        A name on the hub, with ``cross-encoder/`` left out, or a local folder.
    max_length : str, optional
        Most tokens of query and text together; by default what the model states.
    revision, trust_remote_code : str, optional
        See `find_source`.
    device, precision
        As for `isthmus.encoders.registry.load_encoder`.

    Raises
    ------
    MissingDependency
        If Sentence Transformers is not installed.
    UnknownEncoder
        If it cannot be loaded, is no cross-encoder, or gives several scores.
    """
    spec = f"{KIND}/{name}"
    require_library()
    # The organisation is a part of the names of its models, as in cross-encoder/ms-marco-….
    source = find_source(name, spec, revision, trust_remote_code)
    if not source.local and "/" not in name:
        source = source._replace(name=spec)
    runtime = choose_runtime(device, precision)
    with explain_load_errors(spec):
        kind, classes = type_of(source), architectures(source)
        if kind != CROSS_ENCODER and not (kind is None and _generates(classes)):
            found = kind or ", ".join(classes) or "of no known type"
            raise UnknownEncoder(
                f"{spec!r} is no cross-encoder ({found}); give a model that scores a pair of "
                "texts, such as cross-encoder/ms-marco-MiniLM-L6-v2"
            )
        model = load_model(CROSS_ENCODER, source)
        set_max_length(model, max_length)
        _require_one_score(model, spec)
        encoder = CrossEncoder(model, KIND, source, runtime)
        encoder.components["activation"] = _activation(model, source, spec)
        encoder.spec = spec
        return encoder


def _generates(classes: Sequence[str]) -> bool:
    """Return whether a model writes text; its score is that of "yes" against "no"."""
    return any(name.endswith("ForCausalLM") for name in classes)


def _require_one_score(model: Any, spec: str) -> None:
    if model.num_labels != 1:
        raise UnknownEncoder(
            f"{spec!r} gives {model.num_labels} scores to a pair of texts; give a model of one "
            "score, the relevance (num_labels=1)"
        )


def _activation(model: Any, source: ModelSource, spec: str) -> str:
    """Return the name of what is applied to the scores.

    The library takes another, with a warning, in the place of one that is code of the model's own.
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
    return type(model.activation_fn).__name__
