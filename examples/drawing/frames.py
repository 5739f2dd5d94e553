"""Frames that turn a motif into a film poster, a book cover, a product or a record sleeve."""

from PIL import Image, ImageDraw, ImageFilter

from drawing.motifs import Motif
from drawing.paint import INK, WHITE, Colour, Pen, Scene, arc_points, mix, rgb

SHAPES = {
    "mug": ("mug",),
    "shirt": ("shirt",),
    "bag": ("bag", "backpack", "rucksack", "satchel"),
    "cushion": ("cushion",),
    "tin": ("tin",),
}


def _inner(scene: Scene, motif: Motif, width: float, height: float) -> Image.Image:
    """Draw the motif on a separate canvas, its size in shares of the scene's."""
    size = round(width * scene.width), round(height * scene.height)
    inner = Scene(*size, scene.rng, scene.words)
    motif(inner)
    return inner.image


def _paste(scene: Scene, image: Image.Image, left: float, top: float, round_: float = 0) -> None:
    mask = Image.new("L", image.size)
    box = (0, 0, image.width - 1, image.height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, round_ * scene.unit, fill=255)
    scene.image.paste(image, (round(left * scene.width), round(top * scene.height)), mask)


def _shadow(scene: Scene, box: tuple[float, float, float, float], strength: float = 0.35) -> None:
    left, top, right, bottom = box
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    scene.veil(corners, INK, strength, 0.015)


def poster(scene: Scene, motif: Motif) -> None:
    """Frame a film: a perforated strip on both edges and a bar of dots at the foot."""
    rng = scene.rng
    border = rng.choice((rgb("14141C"), rgb("1C1620"), rgb("101B24")))
    scene.sky(border, border)
    _paste(scene, _inner(scene, motif, 0.86, 0.84), 0.07, 0.025)
    for side in (0.035, 0.965):
        for n in range(16):
            pen = scene.pen(side, (n + 0.5) / 16, 0.02)
            pen.rect(-0.8, -0.9, 0.8, 0.9, rgb("EDE6D6"))
    accent = rng.choice((rgb("FFD166"), rgb("EF476F"), rgb("5EC4B6"), rgb("F4F1E8")))
    bar = scene.pen(0.5, 0.925, 1)
    half = rng.uniform(0.2, 0.3)
    bar.pill(-half, -0.035, half, 0.005, accent)
    for n in range(7):
        bar.disc((n - 3) * 0.06, 0.055, 0.013, mix(accent, border, 0.35))


def cover(scene: Scene, motif: Motif) -> None:
    """Frame a book: a shaded spine, a cloth board and the motif in one of two layouts."""
    rng = scene.rng
    cloths = ("7B2D26", "1D3557", "2A6F5E", "6A4C93", "B5651D", "34495E", "A23B5B")
    cloth = rgb(rng.choice(cloths))
    scene.sky(mix(cloth, WHITE, 0.1), mix(cloth, INK, 0.15))
    foil = rng.choice((rgb("F4E3B2"), rgb("FFD166"), rgb("F4F1E8")))
    if rng.random() < 0.5:
        _paste(scene, _inner(scene, motif, 0.93, 0.8), 0.07, 0.2)
        plate, half = scene.pen(0.535, 0.1, 1), rng.uniform(0.22, 0.32)
    else:
        image = _inner(scene, motif, 0.75, 0.68)
        edge = scene.pen(0.535, 0.58, 1)
        tall = scene.height / scene.width
        edge.rect(-0.4, -0.365 * tall, 0.4, 0.365 * tall, foil)
        _paste(scene, image, 0.16, 0.24)
        plate, half = scene.pen(0.535, 0.11, 1), rng.uniform(0.24, 0.34)
    plate.pill(-half, -0.055, half, -0.01, foil)
    plate.pill(-half * 0.55, 0.03, half * 0.55, 0.052, mix(foil, cloth, 0.3))
    for left, right, colour, strength in (
        (0, 0.05, INK, 0.4),
        (0.05, 0.062, WHITE, 0.35),
        (0.062, 0.085, INK, 0.35),
        (0.975, 1, INK, 0.2),
    ):
        scene.veil([(left, 0), (right, 0), (right, 1), (left, 1)], colour, strength)


def sleeve(scene: Scene, motif: Motif) -> None:
    """Frame a record: a square sleeve with the grooved disc sliding out of it."""
    rng = scene.rng
    tints = ("E8DCC4", "CFE3E2", "F1C9B8", "D9D2E9", "C9D6B9", "BFD0E8")
    table = rgb(rng.choice(tints))
    scene.sky(mix(table, WHITE, 0.15), mix(table, INK, 0.08))
    _shadow(scene, (0.06, 0.1, 0.87, 0.93))
    disc = scene.pen(0.58, 0.495, 0.385)
    disc.disc(0, 0, 1, rgb("17161C"))
    for n in range(6):
        disc.disc(0, 0, 0.95 - 0.09 * n, rgb("2F2D38"))
        disc.disc(0, 0, 0.935 - 0.09 * n, rgb("17161C"))
    scene.veil([(0.58, 0.495), (1.05, 0.3), (1.05, 0.42)], WHITE, 0.14, 0.01)
    _paste(scene, _inner(scene, motif, 0.8, 0.84), 0.035, 0.075, 0.008)
    scene.veil([(0.815, 0.075), (0.835, 0.075), (0.835, 0.915), (0.815, 0.915)], INK, 0.3)
    scene.veil([(0.035, 0.075), (0.045, 0.075), (0.045, 0.915), (0.035, 0.915)], WHITE, 0.35)


def product(scene: Scene, motif: Motif) -> None:
    """Frame a product: the motif printed on the thing that the item's words name."""
    rng = scene.rng
    lights = ("F4F1EA", "EAF1F4", "F6EDEA", "ECF2E8", "EFECF6")
    light = rgb(rng.choice(lights))
    scene.sky(WHITE, light, mix(light, INK, 0.1))
    tints = ("E63946", "2A9D8F", "F4A261", "3A6EA5", "F2E9E4", "6A4C93", "264653", "E9C46A")
    tint = rgb(rng.choice(tints))
    {
        "mug": _mug,
        "shirt": _shirt,
        "bag": _bag,
        "cushion": _cushion,
        "tin": _tin,
        "box": _box,
    }[shape_of(scene.words)](scene, motif, tint)


def shape_of(words: str) -> str:
    """Return the kind of product that an item's words name.

    Parameters
    ----------
    words : str
        The product's title, or its title and description, in lower case.

    Returns
    -------
    str
        mug, shirt, bag, cushion, tin or, where none of these is named, box.
    """
    last = words.splitlines()[0].split()[-1]
    for shape, names in SHAPES.items():
        if last.endswith(names):
            return shape
    return "box"


def _round_shade(scene: Scene, left: float, right: float, top: float, bottom: float) -> None:
    """Darken both sides of an upright cylinder and light a streak."""
    span = right - left
    for start, stop, colour, strength in (
        (0, 0.12, INK, 0.3),
        (0.12, 0.2, INK, 0.12),
        (0.26, 0.34, WHITE, 0.28),
        (0.72, 0.86, INK, 0.12),
        (0.86, 1, INK, 0.32),
    ):
        a, b = left + span * start, left + span * stop
        scene.veil([(a, top), (b, top), (b, bottom), (a, bottom)], colour, strength)


def _cylinder(scene: Scene, art: Image.Image, left: float, top: float) -> None:
    """Paste a print as a cylinder: straight sides, a bowed foot."""
    mask = Image.new("L", art.size)
    bow = round(0.05 * scene.height)
    draw = ImageDraw.Draw(mask)
    draw.rectangle((0, 0, art.width, art.height - bow), fill=255)
    draw.ellipse((0, art.height - 2 * bow, art.width - 1, art.height - 1), fill=255)
    scene.image.paste(art, (round(left * scene.width), round(top * scene.height)), mask)


def _mug(scene: Scene, motif: Motif, tint: Colour) -> None:
    _shadow(scene, (0.1, 0.84, 0.86, 0.93), 0.4)
    handle = scene.pen(0.74, 0.52, 0.2)
    for width, colour in ((0.42, mix(tint, INK, 0.25)), (0.3, tint)):
        handle.line(arc_points(0, 0, 0.88, 0.75, -95, 95), width, colour)
    art = _inner(scene, motif, 0.64, 0.72)
    _cylinder(scene, art, 0.11, 0.17)
    _round_shade(scene, 0.11, 0.75, 0.18, 0.85)
    rim = scene.pen(0.43, 0.175, 0.32)
    rim.ellipse(0, 0, 1.02, 0.2, tint)
    rim.ellipse(0, 0.01, 0.93, 0.15, mix(tint, INK, 0.55))
    rim.ellipse(0, 0.05, 0.84, 0.11, rgb("5B3A29"))


def _shirt(scene: Scene, motif: Motif, tint: Colour) -> None:
    _shadow(scene, (0.2, 0.2, 0.82, 0.95), 0.3)
    dark, pen = mix(tint, INK, 0.2), scene.pen(0.5, 0.52, 0.46)
    pen.poly(
        [
            (-0.3, -0.9),
            (-0.62, -0.78),
            (-1, -0.3),
            (-0.78, -0.08),
            (-0.6, -0.24),
            (-0.6, 0.92),
            (0.6, 0.92),
            (0.6, -0.24),
            (0.78, -0.08),
            (1, -0.3),
            (0.62, -0.78),
            (0.3, -0.9),
        ],
        tint,
    )
    for side in (-1, 1):
        pen.poly([(0.6 * side, -0.24), (0.78 * side, -0.08), (0.6 * side, -0.42)], dark)
        pen.line([(0.6 * side, -0.24), (0.62 * side, -0.55)], 0.015, dark)
    pen.ellipse(0, -0.9, 0.3, 0.2, dark, (0, 180))
    pen.ellipse(0, -0.92, 0.24, 0.14, mix(tint, INK, 0.5), (0, 180))
    art = _inner(scene, motif, 0.47, 0.52)
    _paste(scene, art, 0.265, 0.345, 0.05)
    scene.veil([(0.735, 0.42), (0.776, 0.4), (0.776, 0.94), (0.735, 0.94)], INK, 0.16)


def _bag(scene: Scene, motif: Motif, tint: Colour) -> None:
    _shadow(scene, (0.14, 0.85, 0.9, 0.95), 0.4)
    dark = mix(tint, INK, 0.3)
    strap = scene.pen(0.5, 0.28, 0.2)
    for shift, colour in ((0.12, dark), (0, tint)):
        loop = arc_points(0, -0.15, 0.72 - shift, 0.85, 180, 360)
        strap.line([(-0.75, 0.5), *loop, (0.75, 0.5)], 0.17, colour)
    pen = scene.pen(0.5, 0.62, 0.4)
    pen.poly([(-0.88, -0.8), (0.88, -0.8), (1, 0.72), (0.9, 0.8), (-0.9, 0.8), (-1, 0.72)], tint)
    pen.poly([(0.8, -0.8), (0.88, -0.8), (1, 0.72), (0.9, 0.8), (0.82, 0.8)], dark)
    pen.rect(-0.89, -0.8, 0.89, -0.66, mix(tint, WHITE, 0.2))
    _paste(scene, _inner(scene, motif, 0.62, 0.53), 0.19, 0.37, 0.035)
    for x in (-0.37, 0.37):
        pen.disc(x, -0.73, 0.045, rgb("F2D088"))


def _cushion(scene: Scene, motif: Motif, tint: Colour) -> None:
    _shadow(scene, (0.12, 0.82, 0.88, 0.93), 0.4)
    outline = [
        (0.05, 0.07),
        (0.28, 0.12),
        (0.5, 0.13),
        (0.72, 0.12),
        (0.95, 0.07),
        (0.9, 0.3),
        (0.885, 0.5),
        (0.9, 0.7),
        (0.95, 0.93),
        (0.72, 0.88),
        (0.5, 0.87),
        (0.28, 0.88),
        (0.05, 0.93),
        (0.1, 0.7),
        (0.115, 0.5),
        (0.1, 0.3),
    ]
    places = [(x * scene.width, y * scene.height) for x, y in outline]
    mask = Image.new("L", scene.image.size)
    ImageDraw.Draw(mask).polygon(places, fill=255)
    scene.image.paste(_inner(scene, motif, 1, 1), (0, 0), mask)
    scene.draw.line(
        [*places, places[0], places[1]], fill=tint, width=scene.unit // 40, joint="curve"
    )
    scene.glow(0.36, 0.34, 0.4, WHITE, 0.25)
    scene.veil([(0.9, 0.3), (0.95, 0.93), (0.05, 0.93), (0.28, 0.84), (0.7, 0.8)], INK, 0.2, 0.02)


def _tin(scene: Scene, motif: Motif, tint: Colour) -> None:
    _shadow(scene, (0.16, 0.84, 0.88, 0.94), 0.4)
    art = _inner(scene, motif, 0.64, 0.64)
    _cylinder(scene, art, 0.18, 0.27)
    _round_shade(scene, 0.18, 0.82, 0.3, 0.86)
    lid = scene.pen(0.5, 0.24, 0.34)
    lid.rect(-1, -0.1, 1, 0.22, tint)
    lid.ellipse(0, 0.22, 1, 0.18, tint)
    lid.ellipse(0, -0.1, 1, 0.18, mix(tint, WHITE, 0.35))
    lid.ellipse(0, -0.11, 0.82, 0.13, mix(tint, WHITE, 0.2))
    lid.ellipse(0, -0.2, 0.14, 0.1, mix(tint, INK, 0.3))


def _box(scene: Scene, motif: Motif, tint: Colour) -> None:
    _shadow(scene, (0.1, 0.86, 0.96, 0.95), 0.4)
    art = _inner(scene, motif, 0.68, 0.68)
    pen = Pen(scene, 0, 0, scene.unit)
    pen.poly([(0.08, 0.22), (0.24, 0.08), (0.94, 0.08), (0.76, 0.22)], mix(tint, WHITE, 0.35))
    pen.poly([(0.76, 0.22), (0.94, 0.08), (0.94, 0.76), (0.76, 0.9)], mix(tint, INK, 0.3))
    pen.poly([(0.79, 0.5), (0.91, 0.41), (0.91, 0.53), (0.79, 0.62)], mix(tint, WHITE, 0.2))
    _paste(scene, art, 0.08, 0.22)
    scene.veil([(0.08, 0.22), (0.76, 0.22), (0.76, 0.24), (0.08, 0.24)], WHITE, 0.35)


def finish(scene: Scene, width: int, height: int) -> Image.Image:
    """Shrink a finished scene to its published size.

    Parameters
    ----------
    scene : Scene
        The supersampled picture.
    width, height : int
        The published size in pixels.

    Returns
    -------
    PIL.Image.Image
        The RGB picture, a little sharpened.
    """
    small = scene.image.resize((width, height), Image.Resampling.LANCZOS)
    return small.filter(ImageFilter.UnsharpMask(radius=0.8, percent=40, threshold=2))
