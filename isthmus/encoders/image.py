"""Images: files, or pictures of any mode, to upright RGB, safely; and to a model's input size."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError

from isthmus.encoders.image_formats import HEIF_BRANDS, brand_of, why_unknown
from isthmus.errors import InvalidImage

if TYPE_CHECKING:
    import torch

PIXELS = "pixels"

# Formats that Pillow decodes itself. EPS, for example, would start Ghostscript.
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "PPM", "AVIF")

MAX_PIXELS: Final = 64_000_000
MAX_BYTES: Final = 64 * 2**20

# Models resize the shorter side to about 256 pixels. The longer side of a narrow image would
# become so long that the image takes gigabytes.
MAX_ASPECT: Final = 200

# Honest progressive files have some ten scans. Each is a pass over all pixels.
MAX_SCANS: Final = 100
_START_OF_SCAN = b"\xff\xda"

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
_SRGB = (b"sRGB", "sRGB".encode("utf-16-be"))  # in the description of profiles that are sRGB
_DEEP_MODES = ("I", "F")
_WHITE_LEVELS = (255.0, 2.0**16 - 1, 2.0**31 - 1)
_PILLOW_MODULES = r"PIL\."
_IGNORE_PILLOW = ("ignore", None, Warning, re.compile(_PILLOW_MODULES), 0)


def open_image(
    data: bytes, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
) -> Image.Image:
    """Decode an image file to upright RGB.

    Transparent pixels are composed over white, EXIF orientation is applied, 16-bit greyscale is
    scaled to 8 bits, and the first frame of an animation is used.

    Parameters
    ----------
    data : bytes
        The file.
    max_pixels : int, default 64 million
        Most accepted pixels; checked from the header, before anything is decoded.
    max_bytes : int, default 64 MiB
        Largest accepted file, in bytes.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.

    Raises
    ------
    InvalidImage
        If the file is empty, too large, damaged, or of an unknown format. Pillow's other
        exceptions and its warnings do not reach the caller.
    """
    if not data:
        raise InvalidImage("the image is empty: 0 bytes")
    if len(data) > max_bytes:
        raise InvalidImage(f"the image has {len(data)} bytes, over the limit of {max_bytes}")
    _ignore_pillow_warnings()
    image = _read_header(data)
    if image.format == "JPEG" and data.count(_START_OF_SCAN) > MAX_SCANS:
        raise InvalidImage(f"the image has more than {MAX_SCANS} scans, as no camera writes them")
    if image.width * image.height > max_pixels:
        raise InvalidImage(
            f"the image has {image.width} x {image.height} pixels, over the limit of {max_pixels}"
        )
    return to_rgb(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a picture of any mode to RGB.

    An image that comes from ``PIL.Image.open`` is decoded and rotated by its EXIF orientation.
    An image made or changed in memory counts as upright.

    Raises
    ------
    InvalidImage
        If it has no pixels, is too narrow, or cannot be decoded or converted.

    Examples
    --------
    >>> half_red = Image.new("RGBA", (1, 1), (255, 0, 0, 128))
    >>> to_rgb(half_red).getpixel((0, 0))
    (255, 127, 127)
    """
    _check_shape(image)
    _ignore_pillow_warnings()
    try:
        image.load()
        rotation = _UPRIGHT.get(_orientation(image))
        rgb = _convert(_in_srgb(image))
        return rgb if rotation is None else rgb.transpose(rotation)
    except MemoryError as error:
        raise InvalidImage("the image does not fit into memory") from error
    except Exception as error:
        raise InvalidImage(f"the image cannot be decoded: {_message(error)}") from error


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
        image = Image.open(io.BytesIO(data), formats=_formats(data))
        if image.info.get("default_image"):  # a PNG whose animation leaves its first image out
            image.seek(1)
        return image
    except UnidentifiedImageError as error:
        raise InvalidImage(why_unknown(data)) from error
    except Image.DecompressionBombError as error:
        raise InvalidImage(f"the image has too many pixels: {_message(error)}") from error
    except Exception as error:
        raise InvalidImage(f"the image's header cannot be read: {_message(error)}") from error


def _formats(data: bytes) -> tuple[str, ...]:
    """Return the formats to try; HEIC among them where its plug-in is installed."""
    if brand_of(data) not in HEIF_BRANDS:
        return FORMATS
    try:
        heif = import_module("pillow_heif")
    except ImportError:
        return FORMATS
    heif.register_heif_opener()
    return (*FORMATS, "HEIF")


def _convert(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _scale_to_8_bits(image, (2.0**16 - 1,))
    if image.mode in _DEEP_MODES:
        return _scale_to_8_bits(
            image, (1.0, *_WHITE_LEVELS) if image.mode == "F" else _WHITE_LEVELS
        )
    if image.has_transparency_data:
        return _over_white(image)
    if image.mode == "RGB" and not isinstance(image, ImageFile.ImageFile):
        return image
    return image.convert("RGB")


def _in_srgb(image: Image.Image) -> Image.Image:
    """Return the image with the colours of its profile as sRGB, as a browser shows them."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "CMYK") or any(n in profile for n in _SRGB):
        return image
    try:
        stored = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            image, stored, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # browsers leave a damaged profile out of account, too
    return image if converted is None else converted


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")
    canvas = Image.new("RGBA", image.size, "white")
    canvas.alpha_composite(image.convert("RGBA"))
    return canvas.convert("RGB")


def _scale_to_8_bits(image: Image.Image, levels: tuple[float, ...]) -> Image.Image:
    """Scale linearly; white is the lowest level that no pixel exceeds."""
    values = np.nan_to_num(np.asarray(image, np.float32).clip(0, levels[-1]))
    peak = float(values.max())
    white = next((level for level in levels if peak <= level), levels[-1])
    return Image.fromarray(np.rint(values * (255 / white)).astype(np.uint8)).convert("RGB")


def _orientation(image: Image.Image) -> int:
    if not isinstance(image, ImageFile.ImageFile):
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # the pixels are good even if the EXIF data are damaged
        return 1


def _ignore_pillow_warnings() -> None:
    """Ignore Pillow's warnings permanently: `catch_warnings` is not thread-safe."""
    if not warnings.filters or warnings.filters[0] != _IGNORE_PILLOW:
        warnings.filterwarnings("ignore", module=_PILLOW_MODULES)


def _message(error: Exception) -> str:
    return str(error) or type(error).__name__


@dataclass(frozen=True)
class PixelTransform:
    """Preparation of an image as bytes, a quarter of the size of floats.

    The normalisation to floats runs later, on the model's device; see `normalize_before`.

    Attributes
    ----------
    geometry : callable
        Resizing and cropping: an RGB image to an RGB image.
    mean, std : tuple of float
        Normalisation per channel, for values from 0 to 1.
    """

    geometry: Callable[[Image.Image], Image.Image]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, image: Image.Image) -> dict[str, npt.NDArray[Any]]:
        """Return uint8 pixels, shape (height, width, 3), by the argument name of the model."""
        return {PIXELS: np.asarray(self.geometry(image))}

    @property
    def components(self) -> dict[str, str]:
        """Settings of the preparation that change a vector."""
        return {"geometry": str(self.geometry), "mean": str(self.mean), "std": str(self.std)}

    def normalize_before(self, model: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        """Return a function of uint8 pixels for a model of normalised floats, channels first."""

        def forward(pixels: torch.Tensor) -> torch.Tensor:
            # (n, height, width, 3) to (n, 3, height, width); mean and std: (3, 1, 1). The memory
            # stays channels-last, the layout in which convolutions are fastest.
            values = pixels.permute(0, 3, 1, 2).float()
            mean, std = (values.new_tensor(v).view(3, 1, 1) * 255 for v in (self.mean, self.std))
            return model((values - mean) / std)

        return forward


@dataclass(frozen=True)
class DescribedTransform:
    """Resizing and cropping of a library, with a text that identifies the settings.

    Attributes
    ----------
    steps : callable
        An RGB image to an RGB image.
    description : str
        All settings of the library; part of the encoder's fingerprint.
    """

    steps: Callable[[Image.Image], Image.Image]
    description: str

    def __str__(self) -> str:
        return self.description

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the image at the model's input size."""
        return self.steps(image)


def pixels_from_torchvision(transform: Any, settings: Mapping[str, Any]) -> PixelTransform:
    """Split the last two steps, conversion and normalisation, off a torchvision transform.

    They run for a whole batch, on the model's device, by `PixelTransform.normalize_before`.

    Parameters
    ----------
    transform : torchvision.transforms.Compose
        Resize, crop, conversion to a tensor, normalisation.
    settings : mapping of str to Any
        Settings of the transform, with ``mean`` and ``std``.
    """
    from torchvision.transforms import Compose

    *geometry, _, _ = transform.transforms
    description = ", ".join(f"{name} {settings[name]}" for name in sorted(settings))
    steps = DescribedTransform(Compose(geometry), description)
    return PixelTransform(steps, tuple(settings["mean"]), tuple(settings["std"]))


@dataclass(frozen=True)
class ResizeAndCrop:
    """Resizing of the shorter side, then a crop of the centre.

    Attributes
    ----------
    shorter : int
        Length of the shorter side after resizing, in pixels.
    crop : int
        Side of the square that is cut out, in pixels.
    """

    shorter: int
    crop: int

    def __str__(self) -> str:
        return f"resize the shorter side to {self.shorter} bicubic, crop {self.crop}"

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return a square of `crop` pixels, bit for bit the one of torchvision."""
        shortest = min(image.size)
        width, height = (int(self.shorter * side / shortest) for side in image.size)
        left, top = round((width - self.crop) / 2), round((height - self.crop) / 2)
        resized = image.resize((width, height), Image.Resampling.BICUBIC)
        return resized.crop((left, top, left + self.crop, top + self.crop))
