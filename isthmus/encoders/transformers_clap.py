"""CLAP, which puts text and audio into one space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isthmus.encoders.backends.runtime import Runtime, choose_runtime
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.tower import Tower
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hf_audio import audio_tower, load_feature_extractor
from isthmus.encoders.hub import Source, explained, find_source
from isthmus.encoders.transformers_joint import features_of, text_tower
from isthmus.encoders.transformers_source import describe_config, load_config, load_model
from isthmus.errors import UnknownEncoder
from isthmus.schema import Modality

if TYPE_CHECKING:
    import torch

MODEL_TYPE = "clap"


def load_clap(
    name: str,
    *,
    max_length: str | None = None,
    window: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    compile: bool = False,
) -> Encoder:
    """Load CLAP.

    Parameters
    ----------
    name : str
        A name on the hub, or a local folder.
    max_length : str, optional
        Most tokens of a text; by default what the model takes.
    window : str, optional
        Seconds of a window of audio; by default what the model takes.
    device, precision, compile
        As for `load_encoder`.

    Raises
    ------
    UnknownEncoder
        If it cannot be loaded, or is no CLAP.
    MissingDependency
        If the packages that decode audio are not installed.
    """
    spec = f"clap/{name}"
    source = find_source(name, spec)
    runtime = choose_runtime(device, precision, compile)
    with explained(spec):
        config = load_config(source)
        if config.model_type != MODEL_TYPE:
            raise UnknownEncoder(
                f"{spec!r} is a model of type {config.model_type}, not CLAP; load it with "
                f"'transformers/{name}'"
            )
        return build_clap_encoder(source, config, runtime, max_length, window)


def build_clap_encoder(
    source: Source, config: Any, runtime: Runtime, max_length: str | None, window: str | None
) -> TorchEncoder:
    """Build an encoder of text and audio."""
    from transformers import AutoModel

    extractor = load_feature_extractor(source)
    model, weights = load_model(source, AutoModel)

    def forward(**batch: torch.Tensor) -> torch.Tensor:
        return features_of(model.get_audio_features(**batch))

    # Positions are counted from behind the padding token's.
    positions = config.text_config.max_position_embeddings - config.text_config.pad_token_id - 1
    towers: dict[Modality, Tower] = {
        "text": text_tower(source, model, max_length, positions, padded=False),
        "audio": audio_tower(extractor, forward, window, {}),
    }
    identity = {"kind": "transformers", **describe_config(config)}
    return TorchEncoder(model, towers, int(config.projection_dim), identity, runtime, weights)
