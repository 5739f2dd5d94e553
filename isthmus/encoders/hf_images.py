"""Hugging Face image processors: one image to the arrays a model takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from isthmus.encoders.hub import Source

if TYPE_CHECKING:
    from PIL import Image

Transform = Callable[["Image.Image"], dict[str, npt.NDArray[Any]]]


def load_image_processor(source: Source) -> Any:
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
