"""Images of every format and mode become upright RGB, or raise `InvalidImage`."""

from __future__ import annotations

import contextlib
import io
import struct
import sys
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from isthmus.encoders.image import FORMATS, open_image, to_rgb
from isthmus.errors import InvalidImage

RED, WHITE, BLACK = (255, 0, 0), (255, 255, 255), (0, 0, 0)


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def corner(image: Image.Image):
    return image.getpixel((0, 0))


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header states a size, with no pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (Image.new("RGB", (3, 2), RED), "PNG", RED),
        (Image.new("L", (3, 2), 77), "PNG", (77, 77, 77)),
        (Image.new("1", (3, 2), 1), "PNG", WHITE),
        (Image.new("LA", (3, 2), (0, 128)), "PNG", (127, 127, 127)),
        (Image.new("RGBA", (3, 2), (255, 0, 0, 0)), "PNG", WHITE),
        (Image.new("RGBA", (3, 2), (255, 0, 0, 128)), "PNG", (255, 127, 127)),
        (Image.new("RGB", (3, 2), RED).quantize(4), "PNG", RED),
        (Image.new("I;16", (3, 2), 65535), "PNG", WHITE),
        (Image.new("I;16", (3, 2), 257 * 100), "PNG", (100, 100, 100)),
        (Image.new("I;16", (3, 2), 257), "TIFF", (1, 1, 1)),
        (Image.new("F", (3, 2), 0.5), "TIFF", (128, 128, 128)),
        (Image.new("CMYK", (3, 2), (0, 255, 255, 0)), "TIFF", RED),
        (Image.new("RGB", (3, 2), RED), "GIF", RED),
        (Image.new("RGB", (3, 2), RED), "BMP", RED),
        (Image.new("RGB", (3, 2), RED), "PPM", RED),
    ],
    ids=lambda value: f"{value.mode}" if isinstance(value, Image.Image) else None,
)
def test_a_file_of_any_mode_becomes_rgb(image, kind, expected):
    opened = open_image(saved(image, kind))
    assert (opened.mode, opened.size, corner(opened)) == ("RGB", (3, 2), expected)


@pytest.mark.parametrize(("kind", "tolerance"), [("JPEG", 3), ("WEBP", 8), ("JPEG2000", 3)])
def test_lossy_formats_give_nearly_the_same_colour(kind, tolerance):
    opened = open_image(saved(Image.new("RGB", (32, 32), (200, 100, 50)), kind))
    np.testing.assert_allclose(corner(opened), (200, 100, 50), atol=tolerance)


def test_cmyk_jpeg():
    opened = open_image(saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100))
    np.testing.assert_allclose(corner(opened), RED, atol=3)


def test_a_transparent_colour_of_a_palette_becomes_white():
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, 0, 0, 255])
    image.putdata([0, 1])
    opened = open_image(saved(image, transparency=1))
    assert [opened.getpixel((x, 0)) for x in (0, 1)] == [RED, WHITE]


def test_a_palette_with_a_transparency_for_each_colour():
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, 0, 0, 255])
    image.putdata([0, 1])
    opened = open_image(saved(image, transparency=bytes([255, 0])))
    assert [opened.getpixel((x, 0)) for x in (0, 1)] == [RED, WHITE]


def test_a_transparent_colour_of_rgb_becomes_white():
    assert corner(open_image(saved(Image.new("RGB", (2, 2), RED), transparency=RED))) == WHITE


def test_16_bit_values_are_scaled_and_not_clipped():
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    opened = open_image(saved(Image.fromarray(ramp)))
    np.testing.assert_array_equal(np.asarray(opened)[:, :, 0].ravel(), np.arange(256))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, (0, 0, 255))]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(corner(open_image(data)), RED, atol=8)


UPRIGHT = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
STORED = {  # the pixels of a file with an upright picture, by EXIF orientation
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.transpose(1, 0, 2),
    6: np.rot90(UPRIGHT, 1),
    7: UPRIGHT[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(UPRIGHT, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    opened = open_image(saved(stored, exif=exif))
    np.testing.assert_array_equal(np.asarray(opened), UPRIGHT)
    np.testing.assert_array_equal(np.asarray(to_rgb(opened)), UPRIGHT)


def test_damaged_exif_is_ignored():
    data = saved(
        Image.new("RGB", (16, 8), RED), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"
    )
    assert open_image(data).size == (16, 8)


NOISE = Image.effect_noise((200, 200), 100).convert("RGB")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_a_truncated_file_is_refused(kind, share):
    data = saved(NOISE, kind)
    with pytest.raises(InvalidImage, match=r"image"):
        open_image(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the image is empty: 0 bytes"),
        (b"this is text", "not an image in a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript.*; give a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "the file is SVG.*; convert it to JPEG"),
        (b"<?xml version='1.0'?>\n<!-- a -->\n<svg/>", "the file is SVG"),
        (b"\0\0\0\x18ftypheic" + bytes(200), "HEIC"),
        (b"\0\0\0\x18ftypavif" + bytes(200), "AVIF"),
        (b"\0\0\0\x18ftypisom" + bytes(200), "a video"),
        (b"\n<!DOCTYPE html><p>Not found", "a web page.*; give the address of the image"),
        (b'{"error": "not found"}', "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"PK\x03\x04", "an archive"),
        (png_header(100_000, 50_000), "too many pixels"),
        (png_header(9_000, 9_000), "9000 x 9000 pixels, over the limit of 64000000"),
        (png_header(0, 5), "image"),
        (png_header(5, 5), "cannot be decoded"),
    ],
)
def test_the_error_names_what_is_wrong_with_an_image(data, reason):
    with pytest.raises(InvalidImage, match=reason):
        open_image(data)


def quarters() -> Image.Image:
    """Lime, blue and red: left and right above, and below."""
    image = Image.new("RGB", (96, 64), RED)
    image.paste("blue", (0, 0, 96, 32))
    image.paste("lime", (0, 0, 48, 32))
    return image


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_pictures_of_phones_are_decoded(kind):
    pytest.importorskip("pillow_heif").register_heif_opener()
    whole_colour = {"subsampling": "4:4:4"} if kind == "AVIF" else {}
    opened = open_image(saved(quarters(), kind, quality=95, **whole_colour))
    np.testing.assert_allclose(np.asarray(opened), np.asarray(quarters()), atol=12)
    damaged = saved(quarters(), kind, quality=95)[:400]
    with pytest.raises(InvalidImage, match="the image"):
        open_image(damaged[:300])


def test_an_avif_is_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # a turn to the right
    opened = open_image(saved(quarters(), "AVIF", quality=95, subsampling="4:4:4", exif=exif))
    expected = np.rot90(np.asarray(quarters()), -1)
    np.testing.assert_allclose(np.asarray(opened), expected, atol=12)


def test_heic_without_its_package_is_refused_with_the_command_that_installs_it(monkeypatch):
    data = saved(quarters(), "HEIF") if "HEIF" in Image.SAVE else b"\0\0\0\x18ftypheic" + bytes(99)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InvalidImage, match=r"HEIC.*pip install pillow-heif, or convert it to JPEG"):
        open_image(data)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(InvalidImage, match="300 x 300 pixels, over the limit of 50000"):
        open_image(saved(Image.new("L", (300, 300))), max_pixels=50_000)


def scans(times: int, size: int = 64) -> bytes:
    """A progressive JPEG whose last scan is repeated: small, and slow to decode."""
    data = saved(Image.new("L", (size, size), 99), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * times + data[-2:]


def test_a_progressive_image_of_honest_scans_is_read():
    assert open_image(scans(20)).size == (64, 64)


def test_a_progressive_image_of_many_scans_is_refused():
    with pytest.raises(InvalidImage, match="more than 100 scans"):
        open_image(scans(2_000))


def test_avif_is_read():
    red = corner(open_image(saved(Image.new("RGB", (32, 32), RED), "AVIF")))
    assert np.abs(np.subtract(red, RED)).max() < 8


def test_an_animation_that_leaves_its_first_image_out_shows_the_next():
    frames = [Image.new("RGB", (8, 8), colour) for colour in (WHITE, RED, BLACK)]
    data = saved(frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=True)
    assert corner(open_image(data)) == RED


def test_16_bit_colours_keep_their_high_bytes():
    values = np.zeros((4, 4, 3), ">u2")
    values[..., 0] = 0xC8FF
    raw = b"".join(b"\0" + row.tobytes() for row in values)
    assert corner(open_image(png_of(4, 4, 16, 2, raw))) == (0xC8, 0, 0)


def png_of(width: int, height: int, depth: int, kind: int, raw: bytes) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + crc

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_colour_profile_is_applied_as_in_a_browser():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Red and blue exchanged, and another name.
    other = srgb.replace(b"rXYZ", b"....").replace(b"bXYZ", b"rXYZ").replace(b"....", b"bXYZ")
    other = other.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
    image = Image.new("RGB", (8, 8), (200, 0, 0))
    assert corner(open_image(saved(image, icc_profile=srgb))) == (200, 0, 0)
    assert corner(open_image(saved(image, icc_profile=other))) == (0, 0, 200)
    assert corner(open_image(saved(image, icc_profile=b"damaged"))) == (200, 0, 0)
    inked = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert corner(open_image(saved(inked, "TIFF"))) == (255, 0, 0)


def test_a_large_file_is_refused():
    with pytest.raises(InvalidImage, match="has 500 bytes, over the limit of 499"):
        open_image(bytes(500), max_bytes=499)


def test_an_image_without_pixels_is_refused():
    with pytest.raises(InvalidImage, match="0 x 5 pixels"):
        to_rgb(Image.new("RGB", (0, 5)))


@pytest.mark.parametrize("size", [(1, 201), (30_000, 2)])
def test_an_image_that_is_too_narrow_is_refused(size):
    with pytest.raises(InvalidImage, match=f"{size[0]} x {size[1]} pixels, a side more than 200"):
        open_image(saved(Image.new("RGB", size)))
    assert open_image(saved(Image.new("RGB", (1, 200)))).size == (1, 200)


@pytest.mark.parametrize(
    "failure",
    [
        OSError("o"),
        SyntaxError("s"),
        ValueError("v"),
        struct.error("e"),
        MemoryError(),
        KeyError(1),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_every_exception_of_pillow_becomes_invalid_image(failure, monkeypatch):
    def fail(self):
        raise failure

    data = saved(Image.new("L", (3, 3)))
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(InvalidImage, match="image"):
        open_image(data)


def test_no_warning_reaches_the_caller():
    palette = saved(Image.new("P", (4, 4)), transparency=bytes([0]))
    damaged = saved(NOISE, "TIFF")[:-3]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        open_image(palette)
        for data in (damaged, png_header(9_500, 9_500)):  # Pillow warns from 89 million pixels
            with pytest.raises(InvalidImage, match="image"):
                open_image(data, max_pixels=100_000_000)
    assert not caught


def test_random_damage_raises_nothing_but_invalid_image():
    rng = np.random.default_rng(0)
    for kind in FORMATS:
        data = np.frombuffer(saved(NOISE.resize((40, 40)), kind), np.uint8)
        for _ in range(30):
            broken = data.copy()
            positions = rng.integers(0, len(broken), 12)
            broken[positions] = rng.integers(0, 256, 12)
            with contextlib.suppress(InvalidImage):
                assert open_image(broken.tobytes()).mode == "RGB"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"])
def test_a_picture_in_memory_of_any_mode_becomes_rgb(mode):
    assert to_rgb(Image.new(mode, (3, 2))).mode == "RGB"


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16", "I;16B"])
def test_a_picture_in_memory_of_a_rare_mode_becomes_rgb(mode):
    assert to_rgb(Image.new(mode, (3, 2))).mode == "RGB"


@pytest.mark.parametrize(
    ("mode", "value", "grey"),
    [("I", 200, 200), ("I", 65535, 255), ("I", 2**31 - 1, 255), ("F", 1.0, 255), ("F", 51.0, 51)],
)
def test_deep_modes_are_scaled_by_the_smallest_range_that_holds_them(mode, value, grey):
    assert corner(to_rgb(Image.new(mode, (2, 2), value))) == (grey, grey, grey)


def test_nan_becomes_black():
    assert corner(to_rgb(Image.fromarray(np.full((2, 2), np.nan, np.float32)))) == BLACK


def test_an_rgb_image_is_not_copied():
    image = Image.new("RGB", (2, 2))
    assert to_rgb(image) is image
