"""From an RGB image to pixels of a model's input size, and their normalisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from isthmus.encoders.backends.tower import Forward

if TYPE_CHECKING:
    import torch

PIXELS = "pixels"


@dataclass(frozen=True)
class Pixels:
    """Preparation of an image as bytes; a quarter of what floats would take.

    Attributes
    ----------
    geometry : callable
        Resize and crop.
    mean, std : tuple of float
        Per channel, for values from 0 to 1.
    """

    geometry: Callable[[Image.Image], Image.Image]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, image: Image.Image) -> dict[str, npt.NDArray[Any]]:
        """Give uint8 of shape (height, width, 3), under the name that `feed` takes."""
        return {PIXELS: np.asarray(self.geometry(image))}

    @property
    def components(self) -> dict[str, str]:
        """What of the preparation changes a vector."""
        return {"geometry": str(self.geometry), "mean": str(self.mean), "std": str(self.std)}

    def feed(self, model: Forward) -> Forward:
        """Put the normalisation before a model of float pixels, channels first."""

        def forward(pixels: torch.Tensor) -> torch.Tensor:
            # channels first by shape, last in memory: what convolutions run fastest on
            values = pixels.permute(0, 3, 1, 2).float()
            mean, std = (values.new_tensor(v).view(3, 1, 1) * 255 for v in (self.mean, self.std))
            return model((values - mean) / std)

        return forward


@dataclass(frozen=True)
class Geometry:
    """Resizing and cropping that a library does.

    Attributes
    ----------
    steps : callable
        An RGB image to an RGB image.
    description : str
        All that the library was told.
    """

    steps: Callable[[Image.Image], Image.Image]
    description: str

    def __str__(self) -> str:
        return self.description

    def __call__(self, image: Image.Image) -> Image.Image:
        """Give the image at the model's input size."""
        return self.steps(image)


def torchvision_pixels(transform: Any, settings: Mapping[str, Any]) -> Pixels:
    """Take the last two steps off a torchvision transform, conversion and normalisation.

    They are done for a whole batch, on the model's device, by `Pixels.feed`.

    Parameters
    ----------
    transform : torchvision.transforms.Compose
        Resize, crop, conversion to a tensor, normalisation.
    settings : mapping of str to Any
        What it was made of, ``mean`` and ``std`` among it.
    """
    from torchvision.transforms import Compose

    *geometry, _, _ = transform.transforms
    description = ", ".join(f"{name} {settings[name]}" for name in sorted(settings))
    steps = Geometry(Compose(geometry), description)
    return Pixels(steps, tuple(settings["mean"]), tuple(settings["std"]))


@dataclass(frozen=True)
class ResizeAndCrop:
    """Resize the shorter side, then cut the centre out.

    Attributes
    ----------
    shorter : int
        Length of the shorter side after resizing.
    crop : int
        Side of the square that is cut out.
    """

    shorter: int
    crop: int

    def __str__(self) -> str:
        return f"resize the shorter side to {self.shorter} bicubic, crop {self.crop}"

    def __call__(self, image: Image.Image) -> Image.Image:
        """Give a square of `crop` pixels, the same to the bit as torchvision's."""
        shortest = min(image.size)
        width, height = (int(self.shorter * side / shortest) for side in image.size)
        left, top = round((width - self.crop) / 2), round((height - self.crop) / 2)
        resized = image.resize((width, height), Image.Resampling.BICUBIC)
        return resized.crop((left, top, left + self.crop, top + self.crop))
