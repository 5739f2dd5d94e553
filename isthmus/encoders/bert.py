"""BERT and MiniLM in plain PyTorch: importing Transformers takes longer than a query may."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

Weights = Mapping[str, torch.Tensor]


class Bert(nn.Module):
    """A BERT encoder, in the Hugging Face layout of weights, without its pooler.

    Parameters
    ----------
    weights : mapping of str to torch.Tensor
        The checkpoint.
    heads : int
        Attention heads.
    eps : float
        Of every layer norm.

    References
    ----------
    Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers", 2019.
    """

    def __init__(self, weights: Weights, *, heads: int, eps: float) -> None:
        super().__init__()
        self.words = _table(weights, "word_embeddings")
        token_type = weights["embeddings.token_type_embeddings.weight"][0]
        self.positions = nn.Parameter(
            weights["embeddings.position_embeddings.weight"] + token_type, requires_grad=False
        )
        self.norm = _norm(weights, "embeddings.LayerNorm", eps)
        depth = len({name.split(".")[2] for name in weights if name.startswith("encoder.layer.")})
        self.layers = nn.ModuleList(
            BertLayer(weights, f"encoder.layer.{n}", heads, eps) for n in range(depth)
        )

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Give the last hidden states, shape (n, length, width)."""
        hidden = self.words(input_ids) + self.positions[: input_ids.shape[1]]
        hidden = self.norm(hidden)
        seen = attention_mask[:, None, None, :].bool()
        mask = None if bool(seen.all()) else seen
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return hidden


class BertLayer(nn.Module):
    """Self-attention and a feed-forward network, each followed by a layer norm."""

    def __init__(self, weights: Weights, prefix: str, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        own = f"{prefix}.attention"
        self.project = _linear(weights, *(f"{own}.self.{n}" for n in ("query", "key", "value")))
        self.merge = _linear(weights, f"{own}.output.dense")
        self.merge_norm = _norm(weights, f"{own}.output.LayerNorm", eps)
        self.widen = _linear(weights, f"{prefix}.intermediate.dense")
        self.narrow = _linear(weights, f"{prefix}.output.dense")
        self.narrow_norm = _norm(weights, f"{prefix}.output.LayerNorm", eps)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Give new hidden states, shape (n, length, width)."""
        n, length, width = hidden.shape
        split = self.project(hidden).view(n, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each (n, heads, length, width / heads)
        mixed = functional.scaled_dot_product_attention(query, key, value, mask)
        attended = self.merge(mixed.transpose(1, 2).reshape(n, length, width))
        hidden = self.merge_norm(hidden + attended)
        return self.narrow_norm(hidden + self.narrow(functional.gelu(self.widen(hidden))))


def _linear(weights: Weights, *names: str) -> nn.Linear:
    """Make one layer of those named: their outputs side by side."""
    weight = torch.cat([weights[f"{name}.weight"] for name in names])
    layer = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0])
    layer.weight.data = weight
    layer.bias.data = torch.cat([weights[f"{name}.bias"] for name in names])
    return layer


def _norm(weights: Weights, name: str, eps: float) -> nn.LayerNorm:
    norm = nn.LayerNorm(weights[f"{name}.weight"].shape[0], eps)
    norm.weight.data, norm.bias.data = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return norm


def _table(weights: Weights, name: str) -> nn.Embedding:
    return nn.Embedding.from_pretrained(weights[f"embeddings.{name}.weight"])
