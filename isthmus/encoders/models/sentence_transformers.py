"""Models of Sentence Transformers: the library's modules, batched by Isthmus.

Texts are encoded as the library's ``encode_document`` does, and queries as ``encode_query``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from isthmus.encoders.backends.runtime import choose_runtime
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.towers import Forward, TextTower
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hub import ModelSource, explain_load_errors, find_source, hash_settings
from isthmus.encoders.models.transformers_parts import hash_tokenizer, quiet_transformers
from isthmus.encoders.prompts import Prompts, known_prompts, template_of
from isthmus.errors import InvalidInput, MissingDependency, UnknownEncoder

if TYPE_CHECKING:
    import torch

# Features of a model that takes the tokens of a text and nothing else.
_TOKEN_FEATURES = frozenset({"input_ids", "attention_mask", "token_type_ids", "modality"})


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
    source = find_source(name, spec, revision, trust_remote_code)
    runtime = choose_runtime(device, precision, compile)
    with explain_load_errors(spec):
        model = _load(source)
        _set_max_length(model, max_length)
        identity = {"kind": "sentence-transformers", **_describe(model), **source.components}
        dim = int(model.get_embedding_dimension())
        tower = _tower(model, dim, _prompts(model, source.name), spec)
        weights = {n: t for n, t in model.state_dict().items() if "pooler." not in n}
        encoder = TorchEncoder(model, {"text": tower}, dim, identity, runtime, weights)
        encoder.nested = model.truncate_dim is not None
        return encoder


def _load(source: ModelSource) -> Any:
    import torch

    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingDependency(
            "Sentence Transformers is not installed; "
            "install it with: pip install 'isthmus[sentence-transformers]'"
        ) from error
    with quiet_transformers():
        return SentenceTransformer(
            source.name,
            device="cpu",
            **source.options,
            model_kwargs={"dtype": torch.float32},
        )


def _set_max_length(model: Any, max_length: str | None) -> None:
    if max_length is None:
        return
    if not max_length.isdecimal() or not int(max_length):
        raise InvalidInput(f"max_length={max_length} cannot be used; give a number of tokens")
    model.max_seq_length = int(max_length)


def _describe(model: Any) -> dict[str, str]:
    modules = list(model)
    settings = [
        module.get_config_dict() if hasattr(module, "get_config_dict") else {} for module in modules
    ]
    return {
        "model": "+".join(type(module).__name__ for module in modules),
        "config": hash_settings(settings),
    }


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
