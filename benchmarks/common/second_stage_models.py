"""Small models of the second stage, trained from the default text encoder.

A cross-encoder (all layers and a score of the first token), a late-interaction head (a projection
of the token vectors), and a sparse head (a layer before the word embeddings, as masked language
models have). The encoder below the two heads keeps its weights, so that its token vectors are
computed once. All are saved as their library saves them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from isthmus.encoders.models.local import text_package

MAX_TOKENS = 48
DIM = 64  # of a token's vector
NEGATIVES = 7  # of a query, for the cross-encoder
TERMS = 60  # of a text, where the training of sparse vectors begins
FLOPS = 3e-3  # weight of the penalty of many terms (Paria et al., ICLR 2020)


@dataclass(frozen=True)
class Example:
    """A query, a relevant text, and texts that the encoder ranks high and are not relevant."""

    query: str
    text: str
    negatives: tuple[str, ...]


def train_cross_encoder(
    examples: Sequence[Example], folder: Path, steps: int, seed: int = 0, lr: float = 2e-4
) -> None:
    """Train by the softmax over the relevant text and negatives of each query, four a step.

    All layers are trained: those of an encoder of single texts have never compared two.
    """
    from sentence_transformers import CrossEncoder
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(seed)
    source = str(text_package()[0])
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=1)
    tokenizer = AutoTokenizer.from_pretrained(source)
    model.bert.embeddings.word_embeddings.requires_grad_(False)
    trained = [weights for weights in model.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps, pct_start=0.1)
    model.train()
    rng = np.random.default_rng(seed)
    for step in range(steps):
        chosen = [examples[at] for at in rng.integers(len(examples), size=4)]
        pairs = [
            (example.query, text)
            for example in chosen
            for text in (example.text, *_sampled(rng, example.negatives))
        ]
        tokens = tokenizer(pairs, padding=True, truncation=True, max_length=64, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16):
            scores = model(**tokens).logits.float().view(len(chosen), -1)  # (4, 1 + NEGATIVES)
        loss = functional.cross_entropy(scores, torch.zeros(len(chosen), dtype=torch.long))
        _step(loss, optimizer, schedule)
        _show("cross-encoder", step, loss)
    model.eval().save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    whole = CrossEncoder(
        str(folder / "bert"), device="cpu", max_length=64, activation_fn=torch.nn.Identity()
    )
    whole.save_pretrained(str(folder / "model"))


def _sampled(rng: np.random.Generator, negatives: Sequence[str]) -> list[str]:
    return [negatives[at] for at in rng.choice(len(negatives), NEGATIVES, replace=False)]


class TokenVectors:
    """The last hidden states of texts, computed once, and their tokens."""

    def __init__(self, texts: Sequence[str]) -> None:
        from transformers import AutoModel, AutoTokenizer

        source = str(text_package()[0])
        tokenizer = AutoTokenizer.from_pretrained(source)
        model = AutoModel.from_pretrained(source).eval()
        self.of: dict[str, torch.Tensor] = {}
        self.embeddings = model.embeddings.word_embeddings.weight.detach()  # (vocabulary, 384)
        ordered = sorted(set(texts), key=len)
        with torch.inference_mode():
            for start in range(0, len(ordered), 32):
                part = ordered[start : start + 32]
                tokens = tokenizer(
                    part, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
                )
                hidden = model(**tokens).last_hidden_state.half()
                for text, row, mask in zip(part, hidden, tokens["attention_mask"], strict=True):
                    self.of[text] = row[mask.bool()].clone()

    def padded(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return hidden states (n, length, 384) and their mask (n, length)."""
        rows = [self.of[text].clone().float() for text in texts]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(row) for row in rows])
        return padded, torch.arange(padded.shape[1])[None] < lengths[:, None]


def train_late_interaction(
    examples: Sequence[Example], vectors: TokenVectors, folder: Path, steps: int, seed: int = 0
) -> None:
    """Train the projection by MaxSim over a batch, with one negative a query beside it."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    torch.manual_seed(seed)
    sample = torch.cat([vectors.of[e.text].clone().float() for e in examples[:2_000]])
    _, _, directions = torch.pca_lowrank(sample, q=DIM, niter=4)
    projection = torch.nn.Parameter(directions.T.contiguous())  # (DIM, 384)
    optimizer = torch.optim.AdamW([projection], 1e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps)
    rng = np.random.default_rng(seed)
    for step in range(steps):
        queries, documents = _batch(rng, examples, 24)
        (asked, asked_mask), (found, found_mask) = (
            vectors.padded(queries),
            vectors.padded(documents),
        )
        asked = functional.normalize(asked @ projection.T, dim=-1)
        found = functional.normalize(found @ projection.T, dim=-1)
        cosines = torch.einsum("qid,njd->qnij", asked, found)
        best = cosines.masked_fill(~found_mask[None, :, None, :], -2).amax(-1)  # (q, n, i)
        scores = (best * asked_mask[:, None, :]).sum(-1)
        loss = functional.cross_entropy(scores, torch.arange(len(queries)))
        _step(loss, optimizer, schedule)
        _show("late interaction", step, loss)
    head = Dense(
        384, DIM, bias=False, activation_function=torch.nn.Identity(),
        init_weight=projection.detach(), module_input_name="token_embeddings",
    )  # fmt: skip
    body = Transformer(str(text_package()[0]), max_seq_length=MAX_TOKENS)
    modules = [body, head, MultiVectorMask(), Normalize(module_input_name="token_embeddings")]
    MultiVectorEncoder(modules=modules, device="cpu").save(str(folder / "model"))


def train_sparse(
    examples: Sequence[Example], vectors: TokenVectors, folder: Path, steps: int, seed: int = 0
) -> None:
    """Train the layer before the word embeddings by dot products over a batch (SPLADE)."""
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling
    from transformers import AutoTokenizer, BertForMaskedLM

    torch.manual_seed(seed)
    source = str(text_package()[0])
    model = BertForMaskedLM.from_pretrained(source)
    head = model.cls.predictions
    _calibrate(head, vectors, [example.text for example in examples[:256]])
    trained = [*head.transform.parameters(), head.bias]
    model.requires_grad_(False)
    for weights in trained:
        weights.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, 1e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps)
    rng = np.random.default_rng(seed)

    def weigh(texts: Sequence[str]) -> torch.Tensor:
        return torch.log1p(functional.relu(_most(head, vectors, texts)))

    for step in range(steps):
        queries, documents = _batch(rng, examples, 12)
        asked, found = weigh(queries), weigh(documents)
        loss = functional.cross_entropy(asked @ found.T, torch.arange(len(queries)))
        penalty = (asked.mean(0) ** 2).sum() + (found.mean(0) ** 2).sum()
        _step(loss + FLOPS * min(1.0, step / (steps / 2)) * penalty, optimizer, schedule)
        _show(f"sparse ({(found > 0).sum(1).float().mean():.0f} terms)", step, loss)
    model.eval().save_pretrained(folder / "bert")
    AutoTokenizer.from_pretrained(source).save_pretrained(folder / "bert")
    body = Transformer(
        str(folder / "bert"), transformer_task="fill-mask", max_seq_length=MAX_TOKENS
    )
    SparseEncoder(modules=[body, SpladePooling("max")], device="cpu").save(str(folder / "model"))


def _most(head: torch.nn.Module, vectors: TokenVectors, texts: Sequence[str]) -> torch.Tensor:
    """Return the largest product of each term with a token, shape (n, vocabulary)."""
    hidden, mask = vectors.padded(texts)
    # Padding becomes the first token again, which changes no maximum.
    hidden = torch.where(mask[..., None], hidden, hidden[:, :1])
    with torch.autocast("cpu", torch.bfloat16):
        return head(hidden).amax(1).float()


def _calibrate(head: torch.nn.Module, vectors: TokenVectors, texts: Sequence[str]) -> None:
    """Begin with the terms whose embeddings are nearest to the tokens, `TERMS` a text.

    A term counts where its inner product is far above its mean over texts; the layer norm scales
    the products so that those that count are near 1.
    """
    with torch.no_grad():
        torch.nn.init.eye_(head.transform.dense.weight)
        torch.nn.init.zeros_(head.transform.dense.bias)
        head.bias.zero_()
        parts = [texts[start : start + 16] for start in range(0, len(texts), 16)]
        products = torch.cat([_most(head, vectors, part) for part in parts])  # (n, vocabulary)
        mean, std = products.mean(0), products.std(0)
        std.clamp_(min=std.median())  # rare pieces of words hardly vary, and would count by noise
        standard = (products - mean) / std
        least = standard.flatten().topk(TERMS * len(texts)).values[-1]
        scale = 1 / (std.mean() * (standard[standard > least] - least).mean())
        head.transform.LayerNorm.weight.mul_(scale)
        head.bias.copy_(-scale * (mean + least * std))


def _batch(
    rng: np.random.Generator, examples: Sequence[Example], size: int
) -> tuple[list[str], list[str]]:
    """Return queries, and as many relevant texts followed by as many negatives."""
    chosen = [examples[at] for at in rng.choice(len(examples), size, replace=False)]
    negatives = [example.negatives[rng.integers(len(example.negatives))] for example in chosen]
    return [e.query for e in chosen], [e.text for e in chosen] + negatives


def _step(loss: torch.Tensor, optimizer: torch.optim.Optimizer, schedule: object) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()  # type: ignore[attr-defined]


def _show(name: str, step: int, loss: torch.Tensor) -> None:
    if step % 50 == 0:
        print(f"{name}: step {step}, loss {loss.item():.3f}", flush=True)
