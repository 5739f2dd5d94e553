"""Models of Sentence Transformers: the library's modules, batched by Isthmus.

Texts are encoded as the library's ``encode_document`` does, and queries as ``encode_query``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from isthmus.encoders.backends.runtime import choose_runtime
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.towers import Forward, TextTower
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hub import ModelSource, explain_load_errors, find_source
from isthmus.encoders.models.sentence_parts import (
    CROSS_ENCODER,
    MULTI_VECTOR,
    ONE_VECTOR,
    SPARSE,
    describe_modules,
    load_model,
    require_library,
    set_max_length,
    type_of,
)
from isthmus.encoders.models.transformers_parts import hash_tokenizer
from isthmus.encoders.prompts import Prompts, known_prompts, template_of
from isthmus.errors import UnknownEncoder

if TYPE_CHECKING:
    import torch

# Features of a model that takes the tokens of a text and nothing else.
_TOKEN_FEATURES = frozenset({"input_ids", "attention_mask", "token_type_ids", "modality"})
_OTHER_USES: Final = {
    CROSS_ENCODER: "order the first hits of a search with it: rerank='cross-encoder/…'",
    MULTI_VECTOR: "give an encoder of one vector",
    SPARSE: "give an encoder of one vector",
}


def load_sentence_transformer(
    name: str,
    *,
    max_length: str | None = None,
    revision: str | None = None,
    trust_remote_code: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    compile: bool = False,
) -> Encoder:
    """Load a text encoder of Sentence Transformers with its pooling, dense layers and prompts.

    Parameters
    ----------
    name : str
        A name on the hub, with ``sentence-transformers/`` left out, or a local folder.
    max_length : str, optional
        Most tokens of a text; by default what the model states.
    revision, trust_remote_code : str, optional
        See `find_source`.
    device, precision, compile
        As for `load_encoder`.

    Raises
    ------
    MissingDependency
        If Sentence Transformers is not installed.
    UnknownEncoder
        If the model cannot be loaded, or takes more than the tokens of a text.
    """
    spec = f"sentence-transformers/{name}"
    require_library()
    source = find_source(name, spec, revision, trust_remote_code)
    runtime = choose_runtime(device, precision, compile)
    with explain_load_errors(spec):
        _require_one_vector(source, spec)
        model = load_model(ONE_VECTOR, source)
        set_max_length(model, max_length)
        modules = describe_modules(model)
        identity = {"kind": "sentence-transformers", **modules, **source.components}
        dim = int(model.get_embedding_dimension())
        tower = _tower(model, dim, _prompts(model, source.name), spec)
        weights = {n: t for n, t in model.state_dict().items() if "pooler." not in n}
        encoder = TorchEncoder(model, {"text": tower}, dim, identity, runtime, weights)
        encoder.nested = model.truncate_dim is not None
        return encoder


def _require_one_vector(source: ModelSource, spec: str) -> None:
    """Refuse a model of another type, which the library would turn into one of random weights."""
    kind = type_of(source)
    if kind in _OTHER_USES:
        raise UnknownEncoder(
            f"{spec!r} is a {kind}, which gives no vector of a whole text; {_OTHER_USES[kind]}"
        )


def _prompts(model: Any, name: str) -> Prompts:
    """Return the prompts of a model: those it states, or those its authors are known to ask for.

    A default prompt counts for both roles where the model states none for either.
    """
    stated: Mapping[str, str] = model.prompts
    query = _first(stated, ("query", "search_query"))
    document = _first(stated, ("document", "passage", "corpus", "search_document"))
    if query or document:
        return Prompts(query, document, template_of(query))
    default = stated.get(model.default_prompt_name or "", "")
    return Prompts(default, default, template_of(default)) if default else known_prompts(name)


def _first(prompts: Mapping[str, str], names: Sequence[str]) -> str:
    return next((prompts[name] for name in names if prompts.get(name)), "")


def _tower(model: Any, dim: int, prompts: Prompts, spec: str) -> TextTower:
    if type(model[0]).__name__ == "Router":
        raise UnknownEncoder(
            f"{spec!r} routes queries and documents through different modules, which Isthmus does "
            "not run; give a model with one encoder for both, and prompts"
        )
    sample = model.preprocess(["a text"])
    if not sample.keys() <= _TOKEN_FEATURES or "attention_mask" not in sample:
        raise UnknownEncoder(
            f"{spec!r} takes more than the tokens of a text ({', '.join(sample)}); of Sentence "
            "Transformers, Isthmus runs transformer models of text; for text and images, give a "
            "model of two encoders, such as transformers/google/siglip2-base-patch16-224"
        )
    constant = {"modality": sample["modality"]} if "modality" in sample else {}

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        features = model.preprocess(list(texts))
        ids = features["input_ids"].numpy()  # (n, length)
        masks = features["attention_mask"].bool().numpy()
        return [row[mask].tolist() for row, mask in zip(ids, masks, strict=True)]

    def forward_behind(prompt: str) -> Forward:
        """Return the forward function of texts behind a prompt, whose length pooling may need."""
        features = dict(constant)
        if prompt and _pools_without_prompt(model):
            features["prompt_length"] = model.preprocess(["a"], prompt=prompt)["prompt_length"]

        def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            tokens = {"input_ids": input_ids, "attention_mask": attention_mask}
            vectors: torch.Tensor = model({**tokens, **features})["sentence_embedding"]
            return vectors[:, :dim]  # of a model that states truncate_dim

        return forward

    return TextTower(
        tokenize=tokenize,
        forward=forward_behind(prompts.document),
        components={
            "tokenizer": hash_tokenizer(model.tokenizer),
            "max_length": str(model.max_seq_length),
        },
        pad_id=model.tokenizer.pad_token_id or 0,
        tokenizer=getattr(model.tokenizer, "backend_tokenizer", None),
        prompts=prompts,
        forward_behind=forward_behind if _pools_without_prompt(model) else None,
    )


def _pools_without_prompt(model: Any) -> bool:
    return any(getattr(module, "include_prompt", True) is False for module in model)
