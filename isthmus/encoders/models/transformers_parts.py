"""The parts of a Transformers model, loaded from the hub or a local folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from isthmus.encoders.hub import ModelSource, hash_settings
from isthmus.errors import UnknownEncoder

if TYPE_CHECKING:
    import torch
from typing import TYPE_CHECKING, Literal, get_args

from isthmus.errors import InvalidInput

if TYPE_CHECKING:
    import torch
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

Transform = Callable[["Image.Image"], dict[str, npt.NDArray[Any]]]

Tokenize = Callable[[Sequence[str]], list[list[int]]]
_STATED = 1_000_000  # a larger model_max_length says that nobody stated one
_USUAL = 512

Pooling = Literal["mean", "cls", "last"]

# Parts of weights' names that have no part in hidden states.
UNUSED: Final = ("pooler", "masked_spec_embed")

# What says where a model was and who wrote it, not what it computes.
_INCIDENTAL = frozenset(
    {"_name_or_path", "name_or_path", "transformers_version", "dtype", "torch_dtype"}
)


def load_config(source: ModelSource) -> Any:
    """Load the configuration of a model."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(source.name, local_files_only=source.local)


class LoadedModel(NamedTuple):
    """A model, and those of its weights that were in the checkpoint.

    Attributes
    ----------
    model : torch.nn.Module
        In float32.
    weights : dict of str to torch.Tensor
        Without what the checkpoint lacks (see `UNUSED`); it is random, and not used.
    """

    model: Any
    weights: dict[str, torch.Tensor]


def load_model(source: ModelSource, model_class: Any) -> LoadedModel:
    """Load a model.

    Raises
    ------
    UnknownEncoder
        If the checkpoint lacks some of its weights.
    """
    import torch

    with quiet_transformers():
        model, info = model_class.from_pretrained(
            source.name,
            local_files_only=source.local,
            dtype=torch.float32,
            output_loading_info=True,
        )
    missing = frozenset(info["missing_keys"])
    needed = sorted(name for name in missing if not any(part in name for part in UNUSED))
    if needed:
        raise UnknownEncoder(
            f"the checkpoint of {source.name} lacks {len(needed)} of the model's weights, "
            f"such as {needed[0]}"
        )
    state = model.state_dict()
    return LoadedModel(model, {name: t for name, t in state.items() if name not in missing})


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep Transformers from printing while it loads; what matters is raised instead."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def describe_config(config: Any) -> dict[str, str]:
    """Name an architecture and digest its configuration."""
    return {
        "model": str(config.model_type),
        "config": hash_settings(_without_incidental(config.to_dict())),
    }


def _without_incidental(settings: Any) -> Any:
    if not isinstance(settings, dict):
        return settings
    return {
        name: _without_incidental(value)
        for name, value in settings.items()
        if name not in _INCIDENTAL
    }


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Make one vector of the hidden states of each row.

    Parameters
    ----------
    hidden : torch.Tensor
        Shape (n, length, dim).
    mask : torch.Tensor
        Shape (n, length); one where there is a token, zero where there is padding behind.
    pooling : {"mean", "cls", "last"}
        Mean of all tokens, the first token, or the last.

    Returns
    -------
    torch.Tensor
        Shape (n, dim).

    Examples
    --------
    >>> import torch
    >>> hidden = torch.tensor([[[1.0], [3.0], [9.0]]])
    >>> mask = torch.tensor([[1, 1, 0]])
    >>> [pool(hidden, mask, how).item() for how in ("mean", "cls", "last")]
    [2.0, 1.0, 3.0]
    """
    if pooling == "cls":
        return hidden[:, 0]
    lengths = mask.sum(1).clamp(min=1)
    if pooling == "last":
        return hidden.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, hidden.shape[-1]))[:, 0]
    total = (hidden * mask[..., None].to(hidden.dtype)).sum(1)
    return total / lengths[:, None].to(hidden.dtype)


def validated_pooling(name: str, allowed: tuple[Pooling, ...] = get_args(Pooling)) -> Pooling:
    """Check the name of a pooling that a user gave.

    Raises
    ------
    InvalidInput
        If it is none of those allowed.
    """
    for pooling in allowed:
        if name == pooling:
            return pooling
    raise InvalidInput(f"unknown pooling {name!r}; use one of {', '.join(allowed)}")


def tokenize_with(tokenizer: Any, max_length: int) -> Tokenize:
    """Give a function from texts to token ids, truncated, not padded.

    The tokenizer keeps truncation and padding as state, and refuses to change it while another
    thread tokenises. It is set here, by a first call, and every call asks for the same.
    """

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        found = tokenizer(
            list(texts),
            truncation=True,
            max_length=max_length,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        ids: list[list[int]] = found["input_ids"]
        return ids

    tokenize([""])
    return tokenize


def hash_tokenizer(tokenizer: Any) -> str:
    """Digest what a tokenizer does, whatever its truncation and padding are set to."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return hash_settings([type(tokenizer).__name__, tokenizer.get_vocab()])
    settings = json.loads(backend.to_str())
    return hash_settings({**settings, "truncation": None, "padding": None})


def resolve_max_length(asked: str | None, tokenizer: Any, positions: int | None) -> int:
    """Give the most tokens of a text: what is asked for, or what the model takes.

    Raises
    ------
    InvalidInput
        If it is no number that the model can take.
    """
    most = positions or _STATED
    if asked is None:
        stated = int(tokenizer.model_max_length)
        return min(stated if stated < _STATED else _USUAL, most)
    if not asked.isdecimal() or not 1 <= int(asked) <= most:
        raise InvalidInput(f"max_length={asked} cannot be used; give a number from 1 to {most}")
    return int(asked)


def load_image_processor(source: ModelSource) -> Any:
    """Load the image processor of a model."""
    from transformers import AutoImageProcessor

    loader: Any = AutoImageProcessor
    return loader.from_pretrained(source.name, local_files_only=source.local)


def transform_with(processor: Any) -> Transform:
    """Give a function from an RGB image to named arrays."""

    def transform(image: Image.Image) -> dict[str, npt.NDArray[Any]]:
        arrays = processor(images=image, return_tensors="pt")
        return {name: array[0].numpy() for name, array in arrays.items()}

    return transform


def describe_processor(processor: Any) -> dict[str, str]:
    """Name everything that a processor does to an image."""
    settings = processor.to_dict()
    return {name: str(settings[name]) for name in sorted(settings) if settings[name] is not None}
