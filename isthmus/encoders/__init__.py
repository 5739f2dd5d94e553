"""Encoders: content in, unit vectors out."""

from isthmus.encoders.audio import Waveform, open_audio
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.image import open_image
from isthmus.encoders.registry import load_encoder, load_encoders

__all__ = ["Encoder", "Waveform", "load_encoder", "load_encoders", "open_audio", "open_image"]
