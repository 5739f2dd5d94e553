"""Which encoder serves which modality."""

from __future__ import annotations

from collections.abc import Mapping

from isthmus.encoders.encoder import Encoder
from isthmus.encoders.registry import load_encoder, load_encoders
from isthmus.encoders.spec import anchored
from isthmus.schema import MODALITIES, Modality

EncoderChoice = str | Encoder | Mapping[Modality, Encoder]


def choose_encoders(
    encoder: EncoderChoice,
    text_encoder: str | Encoder | None = None,
    image_encoder: str | Encoder | None = None,
    audio_encoder: str | Encoder | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
) -> dict[Modality, Encoder]:
    """Give an encoder for each modality.

    Parameters
    ----------
    encoder : str, Encoder or mapping
        One for all its modalities, or one for each; passed over where the others are given.
    text_encoder, image_encoder, audio_encoder : str or Encoder, optional
        One for each modality; those of one spec are one encoder, and share a named vector.
    device : str
        Where encoders run that are loaded here.
    precision : str
        What those compute in, see `load_encoder`.
    """
    own: dict[Modality, str | Encoder | None] = {
        "text": text_encoder,
        "image": image_encoder,
        "audio": audio_encoder,
    }
    if any(own.values()):
        given = {
            modality: anchored(one) if isinstance(one, str) else one
            for modality, one in own.items()
            if one is not None
        }
        loaded = {one: _load(one, device, precision) for one in dict.fromkeys(given.values())}
        return {modality: loaded[one] for modality, one in given.items()}
    if isinstance(encoder, str):
        return dict(load_encoders(encoder, device=device, precision=precision))
    if isinstance(encoder, Encoder):
        return {m: encoder for m in MODALITIES if m in encoder.modalities}
    return dict(encoder)


def _load(encoder: str | Encoder, device: str, precision: str) -> Encoder:
    if isinstance(encoder, str):
        return load_encoder(encoder, device=device, precision=precision)
    return encoder
