"""Images: bytes, or pictures of any mode, to upright RGB, safely."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError

from isthmus.encoders.backends.towers import Forward
from isthmus.errors import InvalidImage

if TYPE_CHECKING:
    import torch

PIXELS = "pixels"

# Formats that Pillow decodes itself: EPS, for one, would start Ghostscript.
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "PPM", "AVIF")

# Models resize the shorter side to some 256: a thread of few pixels would become gigabytes.
MAX_ASPECT: Final = 200

_ORIENTATION_TAG = 0x0112
_UPRIGHT: dict[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DEEP_MODES = ("I", "F")
_CEILINGS = (255.0, 2.0**16 - 1, 2.0**31 - 1)
_PILLOW_MODULES = r"PIL\."
_QUIET = ("ignore", None, Warning, re.compile(_PILLOW_MODULES), 0)


def open_image(
    data: bytes, *, max_pixels: int = 64_000_000, max_bytes: int = 64 * 2**20
) -> Image.Image:
    """Decode an image file to upright RGB.

    Transparency is laid over white, EXIF orientation is applied, 16-bit greyscale is scaled to
    8 bits, and of an animation the first frame is taken.

    Parameters
    ----------
    data : bytes
        The file.
    max_pixels : int, default 64 million
        Most pixels; checked from the header, before anything is decoded.
    max_bytes : int, default 64 MiB
        Largest file, in bytes.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.

    Raises
    ------
    InvalidImage
        If the file is empty, too large, damaged, or no image that is known; whatever is wrong,
        no other exception and no warning comes out.
    """
    if not data:
        raise InvalidImage("the image is empty: 0 bytes")
    if len(data) > max_bytes:
        raise InvalidImage(f"the image has {len(data)} bytes, over the limit of {max_bytes}")
    _hush_pillow()
    image = _read_header(data)
    if image.width * image.height > max_pixels:
        raise InvalidImage(
            f"the image has {image.width} x {image.height} pixels, over the limit of {max_pixels}"
        )
    return to_rgb(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a picture of any mode to RGB.

    A picture that comes straight from ``PIL.Image.open`` is decoded and turned upright as its
    EXIF says; one that was made or changed in memory is taken to be upright.

    Raises
    ------
    InvalidImage
        If it has no pixels, is a mere line, or cannot be decoded or converted.

    Examples
    --------
    >>> half_red = Image.new("RGBA", (1, 1), (255, 0, 0, 128))
    >>> to_rgb(half_red).getpixel((0, 0))
    (255, 127, 127)
    """
    _check_shape(image)
    _hush_pillow()
    try:
        image.load()
        turn = _UPRIGHT.get(_orientation(image))
        rgb = _convert(image)
        return rgb if turn is None else rgb.transpose(turn)
    except MemoryError as error:
        raise InvalidImage("the image does not fit into memory") from error
    except Exception as error:
        raise InvalidImage(f"the image cannot be decoded: {_plain(error)}") from error


def _check_shape(image: Image.Image) -> None:
    width, height = image.size
    if not width or not height:
        raise InvalidImage(f"the image has {width} x {height} pixels")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InvalidImage(
            f"the image has {width} x {height} pixels, "
            f"a side more than {MAX_ASPECT} times the other"
        )


def _read_header(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise InvalidImage("not an image in a known format") from error
    except Image.DecompressionBombError as error:
        raise InvalidImage(f"the image has too many pixels: {_plain(error)}") from error
    except Exception as error:
        raise InvalidImage(f"the image's header cannot be read: {_plain(error)}") from error


def _convert(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _scale_to_8_bits(image, (2.0**16 - 1,))
    if image.mode in _DEEP_MODES:
        return _scale_to_8_bits(image, (1.0, *_CEILINGS) if image.mode == "F" else _CEILINGS)
    if image.has_transparency_data:
        return _over_white(image)
    if image.mode == "RGB" and not isinstance(image, ImageFile.ImageFile):
        return image
    return image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")
    canvas = Image.new("RGBA", image.size, "white")
    canvas.alpha_composite(image.convert("RGBA"))
    return canvas.convert("RGB")


def _scale_to_8_bits(image: Image.Image, ceilings: tuple[float, ...]) -> Image.Image:
    """Scale so that white is the lowest of the ceilings that no pixel exceeds."""
    values = np.nan_to_num(np.asarray(image, np.float32).clip(0, ceilings[-1]))
    peak = float(values.max())
    white = next((ceiling for ceiling in ceilings if peak <= ceiling), ceilings[-1])
    return Image.fromarray(np.rint(values * (255 / white)).astype(np.uint8)).convert("RGB")


def _orientation(image: Image.Image) -> int:
    if not isinstance(image, ImageFile.ImageFile):
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # damaged EXIF says nothing, and the pixels are still good
        return 1


def _hush_pillow() -> None:
    """Ignore Pillow's warnings for good: `catch_warnings` is not safe with several threads."""
    if not warnings.filters or warnings.filters[0] != _QUIET:
        warnings.filterwarnings("ignore", module=_PILLOW_MODULES)


def _plain(error: Exception) -> str:
    return str(error) or type(error).__name__


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
