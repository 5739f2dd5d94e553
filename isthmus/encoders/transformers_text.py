"""Text encoders of Transformers: last hidden states, pooled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isthmus.encoders.backends.runtime import Runtime
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.tower import TextTower
from isthmus.encoders.hf_tokenizer import choose_max_length, hash_tokenizer, tokenize_with
from isthmus.encoders.hub import Source
from isthmus.encoders.pooling import as_pooling, pool
from isthmus.encoders.transformers_source import describe_config, load_model

if TYPE_CHECKING:
    import torch


def build_text_encoder(
    source: Source,
    config: Any,
    runtime: Runtime,
    pooling: str | None,
    max_length: str | None,
) -> TorchEncoder:
    """Build an encoder of text; of a model with a decoder, the encoder is used."""
    from transformers import AutoModel, AutoModelForTextEncoding, AutoTokenizer

    chosen = as_pooling(pooling or "mean")
    tokenizer = AutoTokenizer.from_pretrained(source.name, local_files_only=source.local)
    length = choose_max_length(max_length, tokenizer, _positions(config))
    of_encoder = config.is_encoder_decoder or config.model_type == "t5"
    model, weights = load_model(source, AutoModelForTextEncoding if of_encoder else AutoModel)

    def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        out = model(input_ids=input_ids, attention_mask=attention_mask)
        return pool(out.last_hidden_state, attention_mask, chosen)

    tower = TextTower(
        tokenize=tokenize_with(tokenizer, length),
        forward=forward,
        components={
            "tokenizer": hash_tokenizer(tokenizer),
            "max_length": str(length),
            "pooling": chosen,
        },
        pad_id=tokenizer.pad_token_id or 0,
        tokenizer=getattr(tokenizer, "backend_tokenizer", None),
    )
    identity = {"kind": "transformers", **describe_config(config)}
    return TorchEncoder(model, {"text": tower}, config.hidden_size, identity, runtime, weights)


def _positions(config: Any) -> int | None:
    """Give how many tokens the model has positions for, if it has a table of them."""
    positions: int | None = getattr(config, "max_position_embeddings", None)
    behind_padding = config.model_type in {"roberta", "xlm-roberta", "camembert", "mpnet"}
    return positions - config.pad_token_id - 1 if positions and behind_padding else positions
