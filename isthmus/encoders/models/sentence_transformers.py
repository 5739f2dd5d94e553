"""Models of Sentence Transformers: the library's modules, batched by Isthmus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from isthmus.encoders.backends.runtime import choose_runtime
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.towers import TextTower
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hub import ModelSource, explain_load_errors, find_source, hash_settings
from isthmus.encoders.models.transformers_parts import hash_tokenizer, quiet_transformers
from isthmus.errors import InvalidInput, MissingDependency, UnknownEncoder

if TYPE_CHECKING:
    import torch

# Features of a model that takes the tokens of a text and nothing else.
_TOKEN_FEATURES = frozenset(
    {"input_ids", "attention_mask", "token_type_ids", "modality", "prompt_length"}
)


def load_sentence_transformer(
    name: str,
    *,
    max_length: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    compile: bool = False,
) -> Encoder:
    """Load a text encoder of Sentence Transformers with its pooling, dense layers and prompt.

    Parameters
    ----------
    name : str
        A name on the hub, with ``sentence-transformers/`` left out, or a local folder.
    max_length : str, optional
        Most tokens of a text; by default what the model states.
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
    source = find_source(name, spec)
    runtime = choose_runtime(device, precision, compile)
    with explain_load_errors(spec):
        model = _load(source)
        _set_max_length(model, max_length)
        identity = {"kind": "sentence-transformers", **_describe(model)}
        tower = _tower(model, spec)
        dim = int(model.get_embedding_dimension())
        weights = {n: t for n, t in model.state_dict().items() if "pooler." not in n}
        return TorchEncoder(model, {"text": tower}, dim, identity, runtime, weights)


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
            local_files_only=source.local,
            trust_remote_code=False,
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


def _tower(model: Any, spec: str) -> TextTower:
    prompt = model.prompts.get(model.default_prompt_name) or None
    sample = model.preprocess(["a text"], prompt=prompt)
    if not sample.keys() <= _TOKEN_FEATURES or "attention_mask" not in sample:
        raise UnknownEncoder(
            f"{spec!r} takes more than the tokens of a text ({', '.join(sample)}); of Sentence "
            "Transformers, Isthmus runs transformer models of text"
        )
    constant = {n: sample[n] for n in ("modality", "prompt_length") if n in sample}

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        features = model.preprocess(list(texts), prompt=prompt)
        ids = features["input_ids"].numpy()  # (n, length)
        masks = features["attention_mask"].bool().numpy()
        return [row[mask].tolist() for row, mask in zip(ids, masks, strict=True)]

    def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        features = {"input_ids": input_ids, "attention_mask": attention_mask, **constant}
        vectors: torch.Tensor = model(features)["sentence_embedding"]
        return vectors

    return TextTower(
        tokenize=tokenize,
        forward=forward,
        components={
            "tokenizer": hash_tokenizer(model.tokenizer),
            "max_length": str(model.max_seq_length),
            "prompt": prompt or "",
        },
        pad_id=model.tokenizer.pad_token_id or 0,
        tokenizer=getattr(model.tokenizer, "backend_tokenizer", None),
    )
