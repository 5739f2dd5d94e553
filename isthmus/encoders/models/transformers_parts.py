"""The parts of Hugging Face models: configuration, weights, tokenizer, image processor, pooling."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

import numpy.typing as npt

from isthmus.encoders.hub import ModelSource, hash_settings
from isthmus.errors import InvalidInput, UnknownEncoder

if TYPE_CHECKING:
    import torch
    from PIL import Image

Transform = Callable[["Image.Image"], dict[str, npt.NDArray[Any]]]
Tokenize = Callable[[Sequence[str]], list[list[int]]]
Pooling = Literal["mean", "cls", "last"]

# Weights that hidden states do not depend on, by parts of their names. A checkpoint may lack them.
UNUSED_WEIGHTS: Final = ("pooler", "masked_spec_embed")

# Settings that say where a model was stored and by which version, not what it computes.
_INCIDENTAL = frozenset(
    {"_name_or_path", "name_or_path", "transformers_version", "dtype", "torch_dtype"}
)

# Positions of these text models are counted from behind the padding token's.
_POSITIONS_BEHIND_PADDING = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet"})

# Of Sentence Transformers: where pooling is stated, and the modules that need nothing else.
_POOLING_FOLDER = "1_Pooling"
_POOLED = frozenset({"Transformer", "Pooling", "Normalize"})
_SHORT_MODES = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "last"}
_POOLING_MODES = (
    *("pooling_mode_cls_token", "pooling_mode_mean_tokens", "pooling_mode_max_tokens"),
    *("pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens"),
    "pooling_mode_lasttoken",
)

# Tokenizers without a stated `model_max_length` have a huge one.
_UNSTATED_LENGTH = 1_000_000
_DEFAULT_LENGTH = 512


def load_config(source: ModelSource) -> Any:
    """Load the configuration of a model."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(source.name, **source.options)


class LoadedModel(NamedTuple):
    """A model, and the weights that its checkpoint provided.

    Attributes
    ----------
    model : torch.nn.Module
        In float32.
    weights : dict of str to torch.Tensor
        The state without weights that the checkpoint lacks (see `UNUSED_WEIGHTS`); those are
        random, and no vector depends on them.
    """

    model: Any
    weights: dict[str, torch.Tensor]


def load_model(source: ModelSource, model_class: Any, **options: Any) -> LoadedModel:
    """Load a model; `options` go to ``from_pretrained``.

    Raises
    ------
    UnknownEncoder
        If the checkpoint lacks weights that vectors depend on.
    """
    import torch

    with quiet_transformers():
        model, info = model_class.from_pretrained(
            source.name,
            **source.options,
            **options,
            dtype=torch.float32,
            output_loading_info=True,
        )
    missing = frozenset(info["missing_keys"])
    require_weights(source.name, type(model).__name__, missing)
    state = model.state_dict()
    return LoadedModel(model, {name: t for name, t in state.items() if name not in missing})


def require_weights(name: str, model_class: str, missing: Iterable[str], instead: str = "") -> None:
    """Refuse a checkpoint that lacks weights which vectors depend on.

    Parameters
    ----------
    name : str
        The checkpoint.
    model_class : str
        The class that it was loaded into.
    missing : iterable of str
        Names of the weights that it lacks, of any kind.
    instead : str, optional
        Another way to use the checkpoint, for the message.

    Raises
    ------
    UnknownEncoder
        If there are such weights.
    """
    required = sorted(one for one in missing if not any(part in one for part in UNUSED_WEIGHTS))
    if required:
        raise UnknownEncoder(
            f"the checkpoint of {name} lacks {len(required)} of the model's weights, "
            f"such as {required[0]}; give a checkpoint that was saved whole from a {model_class}"
            f"{f', or take {instead}' if instead else ''}"
        )


@contextmanager
def requiring_weights(instead: str = "") -> Iterator[None]:
    """Refuse checkpoints as `require_weights` does while another library loads their models."""
    from transformers import modeling_utils

    module: Any = modeling_utils
    report = module.log_state_dict_report

    def checked(model: Any, pretrained_model_name_or_path: str, **options: Any) -> None:
        missing = options["loading_info"].missing_keys
        require_weights(pretrained_model_name_or_path, type(model).__name__, missing, instead)
        report(model, pretrained_model_name_or_path, **options)

    module.log_state_dict_report = checked
    try:
        yield
    finally:
        module.log_state_dict_report = report


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep Transformers from printing while it loads; errors are raised all the same."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()


@contextmanager
def never_asking_for_code() -> Iterator[None]:
    """Keep Transformers, behind another library, from asking in the terminal to run code."""
    from transformers import dynamic_module_utils

    module: Any = dynamic_module_utils
    seconds = module.TIME_OUT_REMOTE_CODE
    module.TIME_OUT_REMOTE_CODE = 0
    try:
        yield
    finally:
        module.TIME_OUT_REMOTE_CODE = seconds


def describe_config(config: Any) -> dict[str, str]:
    """Return the components of a configuration: the architecture's name and a digest."""
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


def tokenize_with(tokenizer: Any, max_length: int) -> Tokenize:
    """Return a thread-safe function from texts to token ids, truncated, not padded.

    The tokenizer keeps truncation and padding as state, and refuses to change it while another
    thread tokenises. The first call, here, sets the state; every later call asks for the same.
    """

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        encoding = tokenizer(
            list(texts),
            truncation=True,
            max_length=max_length,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        ids: list[list[int]] = encoding["input_ids"]
        return ids

    tokenize([""])
    return tokenize


def hash_tokenizer(tokenizer: Any) -> str:
    """Digest a tokenizer without its current truncation and padding."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return hash_settings([type(tokenizer).__name__, tokenizer.get_vocab()])
    settings = json.loads(backend.to_str())
    return hash_settings({**settings, "truncation": None, "padding": None})


def resolve_max_length(max_length: str | None, tokenizer: Any, positions: int | None) -> int:
    """Return the most tokens of a text: the option's value, or what the model takes.

    Parameters
    ----------
    max_length : str, optional
        The option ``max_length``.
    tokenizer : transformers.PreTrainedTokenizerBase
        States a default.
    positions : int, optional
        Positions of the model, where it has a table of them.

    Raises
    ------
    InvalidInput
        If the option is not a number that the model can take.
    """
    limit = positions or _UNSTATED_LENGTH
    if max_length is None:
        stated = int(tokenizer.model_max_length)
        return min(stated if stated < _UNSTATED_LENGTH else _DEFAULT_LENGTH, limit)
    if not max_length.isdecimal() or not 1 <= int(max_length) <= limit:
        raise InvalidInput(
            f"max_length={max_length} cannot be used; give a number from 1 to {limit}"
        )
    return int(max_length)


def n_positions(config: Any) -> int | None:
    """Return how many tokens the model has positions for; None if it has no table of them."""
    positions: int | None = getattr(config, "max_position_embeddings", None)
    if positions and config.model_type in _POSITIONS_BEHIND_PADDING:
        return positions - int(config.pad_token_id) - 1
    return positions


def load_image_processor(source: ModelSource) -> Any:
    """Load the image processor of a model."""
    from transformers import AutoImageProcessor

    loader: Any = AutoImageProcessor
    return loader.from_pretrained(source.name, **source.options)


def transform_with(processor: Any) -> Transform:
    """Return a function from an RGB image to the named arrays that the model takes."""

    def transform(image: Image.Image) -> dict[str, npt.NDArray[Any]]:
        tensors = processor(images=image, return_tensors="pt")  # (1, ...) each
        return {name: tensor[0].numpy() for name, tensor in tensors.items()}

    return transform


def describe_processor(processor: Any) -> dict[str, str]:
    """Return the components of an image processor or feature extractor: all its settings."""
    settings = processor.to_dict()
    return {name: str(settings[name]) for name in sorted(settings) if settings[name] is not None}


def validated_pooling(name: str, allowed: tuple[Pooling, ...] = get_args(Pooling)) -> Pooling:
    """Return the option ``pooling``, checked.

    Raises
    ------
    InvalidInput
        If it is not one of `allowed`.
    """
    for pooling in allowed:
        if name == pooling:
            return pooling
    raise InvalidInput(f"unknown pooling {name!r}; use one of {', '.join(allowed)}")


def stated_pooling(source: ModelSource, spec: str) -> Pooling:
    """Return the pooling that the folder of a model of text states, mean where it states none.

    It is stated as Sentence Transformers writes it, in ``1_Pooling/config.json``.

    Raises
    ------
    UnknownEncoder
        If the folder states layers that pooling alone does not make up for.
    """
    modules = _json_of(source, "modules.json") or []
    others = {str(one.get("type", "")).rpartition(".")[2] for one in modules} - _POOLED
    if others:
        raise UnknownEncoder(
            f"{spec!r} states {', '.join(sorted(others))} beside its pooling, which hidden states "
            f"lack; load it as sentence-transformers/{source.name}, or say which pooling you want "
            "without them, as in ?pooling=mean"
        )
    stated = _json_of(source, f"{_POOLING_FOLDER}/config.json")
    if stated is None:
        return "mean"
    modes = stated.get("pooling_mode") or [
        name.removeprefix("pooling_mode_") for name in _POOLING_MODES if stated.get(name)
    ]
    names = [modes] if isinstance(modes, str) else [_SHORT_MODES.get(m, m) for m in modes]
    names = [_SHORT_MODES.get(name, name) for name in names]
    if len(names) != 1 or names[0] not in get_args(Pooling):
        raise UnknownEncoder(
            f"{spec!r} states the pooling {'+'.join(names)}, which transformers/ does not have; "
            f"load it as sentence-transformers/{source.name}"
        )
    return validated_pooling(names[0])


def _json_of(source: ModelSource, name: str) -> Any:
    """Return a JSON file beside the configuration of a model; None where there is none."""
    from transformers.utils.hub import cached_file

    options = {name: value for name, value in source.options.items() if name != "trust_remote_code"}
    path = cached_file(source.name, name, **options, _raise_exceptions_for_missing_entries=False)
    return None if path is None else json.loads(Path(path).read_text("utf-8"))


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Pool the hidden states of each row into one vector.

    Parameters
    ----------
    hidden : torch.Tensor
        Shape (n, length, dim).
    mask : torch.Tensor
        Shape (n, length); 1 for tokens, 0 for the padding behind them.
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
    >>> [pool(hidden, mask, pooling).item() for pooling in ("mean", "cls", "last")]
    [2.0, 1.0, 3.0]
    """
    if pooling == "cls":
        return hidden[:, 0]
    lengths = mask.sum(1).clamp(min=1)  # (n,)
    if pooling == "last":
        last = (lengths - 1)[:, None, None].expand(-1, 1, hidden.shape[-1])  # (n, 1, dim)
        return hidden.gather(1, last)[:, 0]
    total = (hidden * mask[..., None].to(hidden.dtype)).sum(1)  # (n, dim)
    return total / lengths[:, None].to(hidden.dtype)
