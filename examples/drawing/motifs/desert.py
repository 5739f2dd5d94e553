"""The motif of desert."""

import math

from drawing.paint import INK, WHITE, Colour, Pen, Scene, mix, rgb
from drawing.palette import CREAM, GOLD


def desert(scene: Scene) -> None:
    """Draw a camel caravan crossing dunes below a great sun or moon."""
    rng = scene.rng
    skies = ((rgb("E8743B"), rgb("F9A65A"), rgb("FFE3A3")), (rgb("8E3B66"), rgb("E8735A"), GOLD))
    stops = rng.choice(
        (
            *skies,
            (rgb("3FA7C9"), rgb("A9DDD9"), rgb("FFEFC2")),
            (rgb("161447"), rgb("5B2F7B"), rgb("E07A5F")),
        )
    )
    scene.sky(*stops)
    if stops[0] == rgb("161447"):
        scene.stars(60, 0.45)
    scene.sun(rng.uniform(0.25, 0.75), rng.uniform(0.26, 0.36), rng.uniform(0.12, 0.17), CREAM)
    sand = rng.choice((rgb("E9A752"), rgb("E08E45"), rgb("EDB968")))
    _dune(scene, 0.52, mix(sand, stops[2], 0.5))
    _dune(scene, 0.6, mix(sand, stops[2], 0.2))
    flip = rng.random() < 0.5
    count = rng.choice((1, 2, 3))
    size = (0.24, 0.17, 0.135)[count - 1]
    hide = rng.choice((rgb("6B3E26"), rgb("7A4A2B"), rgb("4A2C2A")))
    _dune(scene, 0.74, sand)
    for n in range(count):
        x = 0.5 + (n - (count - 1) / 2) * 0.31
        _camel(scene.pen(x, 0.66 + 0.015 * (n % 2), size, 0, flip), hide, rng.random())
    _dune(scene, 0.86, mix(sand, INK, 0.14))
    if rng.random() < 0.5:
        _palm(scene.pen(0.12 if flip else 0.88, 0.88, 0.26, 0, flip))
    else:
        _cactus(scene.pen(0.14 if flip else 0.86, 0.86, 0.16))


def _dune(scene: Scene, top: float, colour: Colour) -> None:
    crest, low = scene.rng.uniform(0.25, 0.75), top + 0.06
    ridge = [(n / 40, low - 0.08 * math.exp(-((n / 40 - crest) ** 2) * 9)) for n in range(41)]
    places = [(x * scene.width, y * scene.height) for x, y in ridge]
    scene.draw.polygon([*places, (scene.width, scene.height), (0, scene.height)], fill=colour)
    lee = [p for p in ridge if p[0] >= crest]
    back = [(crest + 0.08, low + 0.12), (crest - 0.06, low + 0.03)]
    shadow = [*lee, (1, low + 0.2), *back]
    scene.draw.polygon(
        [(x * scene.width, y * scene.height) for x, y in shadow],
        fill=mix(colour, rgb("8A3B2A"), 0.2),
    )


def _camel(pen: Pen, hide: Colour, pick: float) -> None:
    far = mix(hide, INK, 0.35)
    for x, lean in ((-0.3, -0.1), (0.42, 0.08)):
        pen.line([(x, 0.1), (x + lean, 0.5), (x + lean - 0.02, 0.98)], 0.1, far)
    for x, lean in ((-0.48, 0.06), (0.28, -0.06)):
        pen.line([(x, 0.1), (x + lean, 0.5), (x + lean, 1)], 0.12, hide)
    pen.ellipse(-0.05, 0, 0.6, 0.28, hide)
    pen.poly(
        [
            (-0.5, -0.08),
            (-0.28, -0.28),
            (-0.1, -0.62),
            (0.02, -0.66),
            (0.14, -0.55),
            (0.3, -0.22),
            (0.5, -0.05),
        ],
        hide,
    )
    pen.line([(0.44, 0), (0.68, 0.06), (0.82, -0.12), (0.86, -0.55)], 0.17, hide)
    pen.ellipse(0.98, -0.62, 0.2, 0.11, hide)
    pen.line([(0.84, -0.68), (0.78, -0.8)], 0.08, hide)
    pen.line([(-0.62, -0.05), (-0.72, 0.3)], 0.05, hide)
    rug = (rgb("E63946"), rgb("2A9D8F"), rgb("3A5BA0"))[int(pick * 3)]
    pen.poly(
        [(-0.26, -0.3), (-0.08, -0.62), (0.12, -0.58), (0.28, -0.26), (0.24, 0.12), (-0.24, 0.12)],
        rug,
    )
    pen.line([(-0.24, 0.02), (0.24, 0.02)], 0.06, GOLD)


def _palm(pen: Pen) -> None:
    pen.line([(0, 0.2), (0.04, -0.4), (0.16, -1)], 0.1, rgb("6B4226"))
    for x, y in ((-0.5, -0.9), (-0.4, -1.25), (0.1, -1.45), (0.55, -1.3), (0.7, -0.95)):
        bend = ((x + 0.16) / 2, (y - 1) / 2 - 0.14)
        pen.poly([(0.16, -1), bend, (x, y), (bend[0], bend[1] + 0.16)], rgb("2F7D4F"))


def _cactus(pen: Pen) -> None:
    green = rgb("2F7D4F")
    pen.line([(0, 0.3), (0, -1)], 0.3, green)
    pen.line([(0, -0.2), (-0.45, -0.25), (-0.45, -0.65)], 0.2, green)
    pen.line([(0, -0.05), (0.42, -0.1), (0.42, -0.5)], 0.2, green)
    pen.line([(-0.05, 0.2), (-0.05, -1)], 0.04, mix(green, WHITE, 0.35))
