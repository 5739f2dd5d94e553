"""The motif of trains."""

import math

from drawing.paint import INK, WHITE, Colour, Pen, Scene, mix, rgb
from drawing.palette import BRASS, CREAM, DAWN, DAY, GOLD, SUNSET


def trains(scene: Scene) -> None:
    """Draw a steam locomotive pulling a carriage over rails or a viaduct."""
    rng = scene.rng
    stops = rng.choice((DAY, SUNSET, DAWN, (rgb("1E3A5F"), rgb("5B84A8"), rgb("F2D3A0"))))
    scene.sky(*stops)
    scene.sun(rng.uniform(0.1, 0.3), rng.uniform(0.14, 0.26), 0.08, CREAM)
    green = rng.choice((rgb("6A994E"), rgb("4F8A6B"), rgb("A3A847")))
    scene.crags(0.55, 0.13, mix(stops[1], green, 0.3), 5)
    scene.hills(0.6, 0.05, mix(green, WHITE, 0.25))
    flip = rng.random() < 0.35
    if rng.random() < 0.4:
        _viaduct(scene)
    else:
        scene.hills(0.7, 0.02, green)
        scene.band(0.78, 0.86, rgb("8D7B68"))
        for n in range(12):
            scene.pen((n + 0.5) / 12, 0.815, 0.03).rect(-0.8, -0.5, 0.8, 0.5, rgb("4E3B31"))
    scene.band(0.785, 0.797, rgb("3A3F4B"))
    size = rng.uniform(0.32, 0.36)
    x = 0.55 if not flip else 0.45
    tint = rgb(rng.choice(("C1121F", "1B6B4A", "1D4E89", "2B2D42", "7B2D26")))
    pen = scene.pen(x, 0.785, size, 0, flip)
    smoke = mix(WHITE, stops[1], 0.15)
    for n in range(6):
        pen.disc(0.42 - 0.28 * n, -1.32 - 0.12 * n, 0.15 + 0.06 * n, mix(smoke, stops[1], 0.08 * n))
    _carriage(pen, mix(tint, rgb("C98B52"), 0.5))
    _engine(pen, tint)
    front = mix(green, INK, 0.35)
    scene.hills(0.92, 0.02, front)
    if rng.random() < 0.5:
        _signal(scene.pen(0.1 if flip else 0.9, 0.92, 0.3), rng.random() < 0.5)


def _viaduct(scene: Scene) -> None:
    stone = rgb("B08968")
    scene.band(0.79, 1, stone)
    scene.band(0.79, 0.81, mix(stone, WHITE, 0.3))
    for n in range(4):
        pen = scene.pen((n + 0.5) / 4, 0.93, 0.1)
        pen.ellipse(0, 0, 0.95, 0.95, mix(stone, INK, 0.55), (180, 360))
        pen.rect(-0.95, -0.02, 0.95, 1.2, mix(stone, INK, 0.55))


def _wheel(pen: Pen, x: float, radius: float) -> None:
    pen.disc(x, -radius, radius, INK)
    pen.disc(x, -radius, radius * 0.76, rgb("D7263D"))
    for turn in (0, 60, 120):
        dx, dy = math.cos(math.radians(turn)) * radius, math.sin(math.radians(turn)) * radius
        pen.line(
            [(x - dx * 0.8, -radius - dy * 0.8), (x + dx * 0.8, -radius + dy * 0.8)],
            radius * 0.14,
            INK,
        )
    pen.disc(x, -radius, radius * 0.25, GOLD)


def _engine(pen: Pen, tint: Colour) -> None:
    dark, light = mix(tint, INK, 0.45), mix(tint, WHITE, 0.35)
    pen.rect(-0.75, -0.42, 0.95, -0.26, rgb("30343F"))
    pen.poly([(0.88, -0.3), (1.2, -0.04), (0.82, -0.04)], rgb("D7263D"))
    pen.poly([(0.46, -0.75), (0.64, -0.75), (0.7, -1.22), (0.4, -1.22)], rgb("30343F"))
    pen.rect(0.36, -1.28, 0.74, -1.18, GOLD)
    pen.ellipse(0.12, -0.86, 0.14, 0.18, BRASS)
    pen.rect(-0.35, -0.86, 0.78, -0.4, tint)
    pen.rect(-0.35, -0.8, 0.78, -0.72, light)
    pen.rect(-0.35, -0.5, 0.78, -0.4, dark)
    for x in (-0.1, 0.3):
        pen.rect(x, -0.86, x + 0.045, -0.4, GOLD)
    pen.pill(0.72, -0.9, 0.94, -0.38, rgb("30343F"))
    pen.disc(0.9, -0.95, 0.09, rgb("FFF3B0"))
    pen.rect(-0.82, -1.1, -0.33, -0.36, tint)
    pen.rect(-0.72, -0.98, -0.44, -0.7, rgb("BDE0FE"))
    pen.pill(-0.92, -1.2, -0.24, -1.08, dark)
    for x, radius in ((-0.52, 0.25), (0.02, 0.25), (0.46, 0.16), (0.8, 0.16)):
        _wheel(pen, x, radius)
    pen.line([(-0.52, -0.2), (0.02, -0.2), (0.5, -0.26)], 0.06, rgb("C8CCD6"))


def _carriage(pen: Pen, tint: Colour) -> None:
    pen.rect(-1.05, -0.34, -0.7, -0.28, INK)
    pen.rect(-2.6, -1, -1, -0.26, tint)
    pen.rect(-2.6, -0.46, -1, -0.4, CREAM)
    pen.rect(-2.65, -1.08, -0.95, -0.98, mix(tint, INK, 0.55))
    for n in range(4):
        pen.rect(-1.36 - 0.4 * n, -0.88, -1.1 - 0.4 * n, -0.58, rgb("FFE9A8"))
    for x in (-1.25, -1.7, -2.15):
        _wheel(pen, x, 0.15)


def _signal(pen: Pen, clear: bool) -> None:
    pen.line([(0, 0), (0, -1.6)], 0.08, WHITE)
    turn = 0.35 if clear else 0
    pen.line([(0, -1.45), (-0.55, -1.45 + turn)], 0.15, rgb("E63946"))
    pen.disc(0.02, -1.42, 0.09, rgb("3DDC84") if clear else rgb("FF5964"))
