"""Joint models of Transformers: text with images (CLIP, SigLIP) or with audio (CLAP, PE-AV)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from isthmus.encoders.backends.runtime import Runtime, choose_runtime
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.towers import ImageTower, ModalityTower, TextTower, to_tensors
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hub import ModelSource, explain_load_errors, find_source
from isthmus.encoders.models.transformers_audio import audio_tower, load_feature_extractor
from isthmus.encoders.models.transformers_parts import (
    describe_config,
    describe_processor,
    hash_tokenizer,
    load_config,
    load_image_processor,
    load_model,
    n_positions,
    resolve_max_length,
    tokenize_with,
    transform_with,
)
from isthmus.errors import UnknownEncoder
from isthmus.schema import Modality

if TYPE_CHECKING:
    import torch

CLAP: Final = "clap"
PE_AUDIO_VIDEO: Final = "pe_audio_video"
PE_AUDIO: Final = frozenset({"pe_audio", PE_AUDIO_VIDEO})

# Families trained with every text padded to one length, and attending to the padding.
PADDED_FAMILIES: Final = frozenset({"siglip", "siglip2"})


def is_dual_encoder(config: Any) -> bool:
    """Return whether the model of a configuration gives features of text and of images."""
    from transformers import AutoModel

    mapping: Any = AutoModel._model_mapping
    model_class = mapping.get(type(config), None)
    return all(hasattr(model_class, f"get_{half}_features") for half in ("text", "image"))


def build_joint_encoder(
    source: ModelSource, config: Any, runtime: Runtime, max_length: str | None
) -> TorchEncoder:
    """Build an encoder of text and images."""
    from transformers import AutoModel

    model, weights = load_model(source, AutoModel)
    identity = {"kind": "transformers", **describe_config(config), **source.components}
    positions = n_positions(config.text_config)
    padded = config.model_type in PADDED_FAMILIES
    text = _text_tower(source, model.get_text_features, max_length, positions, padded=padded)
    image = _image_tower(source, model)
    model.eval()
    dim = _probe_dim({"text": text, "image": image}, config.model_type)
    return TorchEncoder(model, {"text": text, "image": image}, dim, identity, runtime, weights)


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
        If it cannot be loaded, or is not a CLAP model.
    MissingDependency
        If the packages that decode audio are not installed.
    """
    spec = f"clap/{name}"
    source = find_source(name, spec)
    runtime = choose_runtime(device, precision, compile)
    with explain_load_errors(spec):
        config = load_config(source)
        if config.model_type != CLAP:
            raise UnknownEncoder(
                f"{spec!r} is a model of type {config.model_type}, not CLAP; load it with "
                f"'transformers/{name}'"
            )
        return build_clap_encoder(source, config, runtime, max_length, window)


def build_clap_encoder(
    source: ModelSource, config: Any, runtime: Runtime, max_length: str | None, window: str | None
) -> TorchEncoder:
    """Build an encoder of text and audio."""
    from transformers import AutoModel

    extractor = load_feature_extractor(source)
    model, weights = load_model(source, AutoModel)

    def forward(**batch: torch.Tensor) -> torch.Tensor:
        return _unwrap(model.get_audio_features(**batch))

    # Positions are counted from behind the padding token's.
    positions = config.text_config.max_position_embeddings - config.text_config.pad_token_id - 1
    towers: dict[Modality, ModalityTower] = {
        "text": _text_tower(source, model.get_text_features, max_length, positions, padded=False),
        "audio": audio_tower(extractor, forward, window, {}),
    }
    identity = {"kind": "transformers", **describe_config(config)}
    return TorchEncoder(model, towers, int(config.projection_dim), identity, runtime, weights)


def build_pe_audio_encoder(
    source: ModelSource, config: Any, runtime: Runtime, max_length: str | None, window: str | None
) -> TorchEncoder:
    """Build an encoder of text and audio of PE-AV.

    Its texts have a vector for each other modality; that for audio is taken. Of a checkpoint that
    sees films too, only the half that hears is loaded.
    """
    from transformers import PeAudioModel

    extractor = load_feature_extractor(source)
    # Of a whole model, the encoder of texts is stored beside that half.
    half = {"config": config.audio_config, "key_mapping": {r"^audio_model\.": ""}}
    options = half if config.model_type == PE_AUDIO_VIDEO else {}
    model, weights = load_model(source, PeAudioModel, **options)

    def features_of_texts(**tokens: torch.Tensor) -> torch.Tensor:
        # Not `get_text_audio_embeds`, which asks for no hidden states in Transformers 5.23.
        hidden = model.text_model(**tokens, output_hidden_states=True).hidden_states[-1]
        features: torch.Tensor = model.text_audio_head(hidden[:, 0])
        return features

    def forward(**batch: torch.Tensor) -> torch.Tensor:
        return _unwrap(model.get_audio_embeds(**batch))

    positions = n_positions(config.text_config)
    towers: dict[Modality, ModalityTower] = {
        "text": _text_tower(source, features_of_texts, max_length, positions, padded=False),
        "audio": audio_tower(extractor, forward, window, {}),
    }
    identity = {"kind": "transformers", **describe_config(config), **source.components}
    dim = int(config.text_config.hidden_size)
    return TorchEncoder(model, towers, dim, identity, runtime, weights)


def _text_tower(
    source: ModelSource,
    features: Callable[..., Any],
    max_length: str | None,
    positions: int | None,
    *,
    padded: bool,
) -> TextTower:
    """Build the text tower of a joint model.

    Parameters
    ----------
    source : ModelSource
        Where its tokenizer is.
    features : callable
        Tokens and their mask to the features of texts.
    max_length : str, optional
        The option ``max_length``: most tokens of a text.
    positions : int, optional
        Number of tokens that the model has positions for, where it has a table of them.
    padded : bool
        Whether every text is padded to one length, and the padding attended to.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.name, **source.options)
    length = resolve_max_length(
        max_length or (None if positions is None else str(positions)), tokenizer, positions
    )

    def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = {} if padded else {"attention_mask": attention_mask}
        return _unwrap(features(input_ids=input_ids, **mask))

    return TextTower(
        tokenize=tokenize_with(tokenizer, length),
        forward=forward,
        components={
            "tokenizer": hash_tokenizer(tokenizer),
            "max_length": str(length),
            "padding": tokenizer.padding_side if padded else "none",
        },
        pad_id=tokenizer.pad_token_id or 0,
        width=length if padded else None,
        pad_left=padded and tokenizer.padding_side == "left",
    )


def _image_tower(source: ModelSource, model: Any) -> ImageTower:
    processor = load_image_processor(source)

    def forward(**batch: torch.Tensor) -> torch.Tensor:
        return _unwrap(model.get_image_features(**batch))

    return ImageTower(transform_with(processor), forward, describe_processor(processor))


def _unwrap(features: Any) -> torch.Tensor:
    """Return the features, which Transformers 5 wraps in an output object."""
    tensor: torch.Tensor = getattr(features, "pooler_output", features)
    return tensor


def _probe_dim(towers: Mapping[Modality, ModalityTower], model_type: str) -> int:
    """Return the length that the vectors of both modalities have, measured on a sample."""
    import torch

    samples: dict[Modality, Any] = {"text": "a", "image": Image.new("RGB", (64, 64))}
    shapes = {}
    for modality, content in samples.items():
        tower = towers[modality]
        batch = to_tensors(tower.collate(tower.prepare([content])))
        with torch.inference_mode():
            shapes[modality] = tuple(tower.forward(**batch).shape)
    if len(set(shapes.values())) > 1 or len(shapes["text"]) != 2:
        raise UnknownEncoder(
            f"the features of a model of type {model_type} are no vectors of one space: of a text "
            f"they have shape {shapes['text']}, of an image {shapes['image']}; give a dual "
            "encoder, such as transformers/google/siglip2-base-patch16-224"
        )
    return int(shapes["text"][1])
