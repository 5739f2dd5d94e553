"""The motif of space."""

import math

from drawing.paint import INK, WHITE, Colour, Pen, Scene, mix, rgb


def space(scene: Scene) -> None:
    """Draw a rocket among stars, planets and moons."""
    rng = scene.rng
    depths = (("070B2B", "1B1F5E", "47307D"), ("05081F", "0F2B52", "1F5C7A"))
    stops = rng.choice((*depths, ("12062E", "3A1263", "8A2B78")))
    scene.sky(*(rgb(code) for code in stops))
    scene.glow(rng.random(), rng.random(), 0.7, mix(rgb(stops[2]), WHITE, 0.25), 0.45)
    scene.stars(90)
    for _ in range(4):
        _sparkle(scene.pen(rng.random(), rng.random(), 0.035))
    planets = ("F2A65A", "E76F51", "5EC4B6", "8AB6F9", "E9C46A", "C77DFF")
    first, second = rng.sample(planets, 2)
    left = rng.random() < 0.5
    _planet(scene.pen(0.78 if left else 0.24, rng.uniform(0.2, 0.3), 0.17, -18), rgb(first), True)
    _planet(scene.pen(0.16 if left else 0.86, rng.uniform(0.6, 0.8), 0.1), rgb(second), False)
    if rng.random() < 0.55:
        ground = rng.choice((rgb("C9CCDD"), rgb("C8553D"), rgb("6C7BC4")))
        pen = scene.pen(0.5, 1, 1)
        pen.ellipse(0, 0.2, 0.9, 0.38, ground)
        for x, y, size in ((-0.25, -0.08, 0.07), (0.12, -0.04, 0.05), (0.34, -0.02, 0.04)):
            pen.ellipse(x, y, size, size * 0.45, mix(ground, INK, 0.25))
    tilt = rng.uniform(12, 38) * (1 if left else -1)
    scene.glow(0.46 if left else 0.54, 0.55, 0.4, rgb("FFB347"), 0.25)
    trim = rgb(rng.choice(("E63946", "F77F00", "2A9D8F", "3A86FF")))
    _rocket(scene.pen(0.45 if left else 0.55, 0.5, rng.uniform(0.26, 0.31), tilt), trim)


def _sparkle(pen: Pen) -> None:
    pen.poly(
        [
            (0, -1),
            (0.15, -0.15),
            (1, 0),
            (0.15, 0.15),
            (0, 1),
            (-0.15, 0.15),
            (-1, 0),
            (-0.15, -0.15),
        ],
        WHITE,
    )


def _planet(pen: Pen, colour: Colour, ring: bool) -> None:
    band = mix(colour, WHITE, 0.6)
    if ring:
        pen.line(_ring(180, 360), 0.13, mix(band, INK, 0.3))
    pen.disc(0, 0, 1, colour)
    pen.ellipse(0, 0.3, 0.93, 0.16, mix(colour, INK, 0.2))
    pen.ellipse(-0.05, -0.32, 0.85, 0.13, mix(colour, WHITE, 0.3))
    pen.disc(0.4, -0.55, 0.1, mix(colour, WHITE, 0.45))
    if ring:
        pen.line(_ring(0, 180), 0.13, band)


def _ring(start: int, stop: int) -> list[tuple[float, float]]:
    turns = [math.radians(t) for t in range(start, stop + 1, 9)]
    return [(1.65 * math.cos(t), 0.42 * math.sin(t)) for t in turns]


def _rocket(pen: Pen, trim: Colour) -> None:
    for size, colour in ((1, "FF7B29"), (0.7, "FFC43D"), (0.4, "FFF3B0")):
        pen.poly(
            [
                (-0.26 * size, 0.8),
                (0.26 * size, 0.8),
                (0.12 * size, 0.85 + 0.45 * size),
                (0, 0.85 + 0.85 * size),
                (-0.12 * size, 0.85 + 0.45 * size),
            ],
            rgb(colour),
        )
    body = rgb("F4F5FA")
    for side in (-1, 1):
        pen.poly(
            [(0.3 * side, 0.2), (0.62 * side, 0.75), (0.6 * side, 0.98), (0.24 * side, 0.72)],
            mix(trim, INK, 0.12 if side > 0 else 0),
        )
    hull = [(0, -1.1), (0.18, -0.85), (0.32, -0.45), (0.36, 0), (0.33, 0.45), (0.24, 0.8)]
    pen.poly([*hull, *((-x, y) for x, y in reversed(hull))], body)
    pen.poly([*hull, (0.06, 0.8), (0.12, 0), (0.08, -0.6)], mix(body, INK, 0.16))
    pen.poly([(0, -1.1), (0.18, -0.85), (0.27, -0.6), (-0.27, -0.6), (-0.18, -0.85)], trim)
    pen.rect(-0.31, 0.52, 0.31, 0.62, trim)
    pen.disc(0, -0.2, 0.2, mix(trim, INK, 0.35))
    pen.disc(0, -0.2, 0.14, rgb("8BE0FF"))
    pen.disc(-0.05, -0.25, 0.045, WHITE)
