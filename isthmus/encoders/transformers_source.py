"""The parts of a Transformers model, loaded from the hub or a local folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from isthmus.encoders.hub import Source
from isthmus.encoders.weights import hash_settings
from isthmus.errors import UnknownEncoder

if TYPE_CHECKING:
    import torch

# Parts of weights' names that have no part in hidden states.
UNUSED: Final = ("pooler", "masked_spec_embed")

# What says where a model was and who wrote it, not what it computes.
_INCIDENTAL = frozenset(
    {"_name_or_path", "name_or_path", "transformers_version", "dtype", "torch_dtype"}
)


def load_config(source: Source) -> Any:
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


def load_model(source: Source, model_class: Any) -> LoadedModel:
    """Load a model.

    Raises
    ------
    UnknownEncoder
        If the checkpoint lacks some of its weights.
    """
    import torch

    with quiet():
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
def quiet() -> Iterator[None]:
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
