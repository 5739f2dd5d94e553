"""The motif of winter."""

import math

from drawing.paint import INK, WHITE, Pen, Scene, mix, rgb
from drawing.palette import NIGHT


def winter(scene: Scene) -> None:
    """Draw a snowed-in cabin among white pines under falling snowflakes."""
    rng = scene.rng
    icy = (rgb("5B8DB8"), rgb("A8CBE3"), rgb("E8F2F8"))
    dusk = (rgb("2B2D6B"), rgb("7A6BB0"), rgb("F0B8C0"))
    stops = rng.choice((NIGHT, icy, dusk, (rgb("123B57"), rgb("2F7F93"), rgb("A6DDD3"))))
    scene.sky(*stops)
    scene.sun(rng.uniform(0.15, 0.85), rng.uniform(0.14, 0.26), 0.07, rgb("FFF8E7"))
    snow = rgb("F3F8FD")
    scene.crags(0.55, 0.14, mix(stops[2], WHITE, 0.25), 5)
    scene.hills(0.62, 0.04, mix(snow, stops[1], 0.35))
    green = rng.choice((rgb("1F5B57"), rgb("2D4F7C"), rgb("24604A")))
    for _ in range(8):
        scene.pine(rng.random(), rng.uniform(0.62, 0.7), rng.uniform(0.18, 0.28), green, True)
    scene.hills(0.72, 0.03, mix(snow, stops[1], 0.14))
    right = rng.random() < 0.5
    _cabin(scene.pen(0.6 if right else 0.4, 0.74, rng.uniform(0.23, 0.27)))
    for x in (0.08, 0.2) if right else (0.8, 0.93):
        scene.pine(x, rng.uniform(0.84, 0.9), rng.uniform(0.36, 0.46), green, True)
    scene.hills(0.88, 0.02, snow)
    if rng.random() < 0.6:
        _snowman(scene.pen(0.27 if right else 0.73, 0.9, 0.11))
    for _ in range(55):
        scene.pen(rng.random(), rng.random(), 1).disc(0, 0, rng.choice((0.005, 0.008)), WHITE)
    for _ in range(7):
        x, y = rng.random(), rng.uniform(0.05, 0.5)
        _flake(scene.pen(x, y, rng.uniform(0.03, 0.06), rng.uniform(0, 60)))


def _cabin(pen: Pen) -> None:
    wood = rgb("7B4A2D")
    pen.rect(0.35, -1.05, 0.58, -0.4, rgb("6C5B5B"))
    pen.rect(0.32, -1.1, 0.61, -1, WHITE)
    for x, y, size in ((0.5, -1.25, 0.12), (0.62, -1.45, 0.16), (0.82, -1.65, 0.2)):
        pen.disc(x, y, size, rgb("DCE4F0"))
    pen.rect(-0.8, -0.35, 0.8, 0.45, wood)
    for y in (-0.2, -0.03, 0.14, 0.31):
        pen.line([(-0.8, y), (0.8, y)], 0.025, mix(wood, INK, 0.4))
    pen.rect(-0.14, -0.18, 0.18, 0.45, mix(wood, INK, 0.55))
    for x in (-0.5, 0.5):
        pen.rect(x - 0.17, -0.2, x + 0.17, 0.12, rgb("FFD873"))
        pen.line([(x, -0.2), (x, 0.12)], 0.03, wood)
        pen.line([(x - 0.17, -0.04), (x + 0.17, -0.04)], 0.03, wood)
    pen.poly([(0, -1.05), (1.08, -0.22), (0.92, -0.14), (-0.92, -0.14), (-1.08, -0.22)], WHITE)
    pen.poly([(0, -0.72), (0.66, -0.22), (-0.66, -0.22)], mix(wood, INK, 0.2))
    pen.line([(-1.02, -0.2), (1.02, -0.2)], 0.12, WHITE)


def _snowman(pen: Pen) -> None:
    for y, radius in ((0.1, 0.62), (-0.7, 0.45)):
        pen.disc(0.04, y, radius, rgb("C7D8EA"))
        pen.disc(-0.03, y - 0.02, radius - 0.06, WHITE)
    for x in (-0.16, 0.14):
        pen.disc(x, -0.8, 0.06, INK)
    pen.poly([(0, -0.68), (0.45, -0.6), (0, -0.55)], rgb("F77F00"))
    pen.line([(-0.36, -0.4), (0.36, -0.4)], 0.18, rgb("E63946"))
    pen.rect(-0.42, -1.15, 0.42, -1.05, INK)
    pen.rect(-0.28, -1.6, 0.28, -1.1, INK)


def _flake(pen: Pen) -> None:
    for n in range(6):
        turn = math.radians(60 * n)
        x, y = math.cos(turn), math.sin(turn)
        pen.line([(0, 0), (x, y)], 0.14, WHITE)
        for bend in (-0.5, 0.5):
            tip = (0.6 * x + 0.38 * math.cos(turn + bend), 0.6 * y + 0.38 * math.sin(turn + bend))
            pen.line([(0.6 * x, 0.6 * y), tip], 0.12, WHITE)
