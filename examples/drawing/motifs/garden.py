"""The motif of garden."""

import math

from drawing.paint import INK, WHITE, Colour, Pen, Scene, arc_points, mix, rgb
from drawing.palette import DAWN, DAY, GOLD


def garden(scene: Scene) -> None:
    """Draw rows of tulips, sunflowers or daisies before a fence and green hills."""
    rng = scene.rng
    scene.sky(*rng.choice((DAY, DAWN, (rgb("7FD1C7"), rgb("D4F1E0"), rgb("FFF6D8")))))
    scene.sun(rng.uniform(0.15, 0.85), rng.uniform(0.14, 0.24), 0.08, GOLD)
    scene.cloud(rng.random(), rng.uniform(0.2, 0.3), 0.13, WHITE)
    scene.hills(0.5, 0.05, rgb("9CCB6B"))
    scene.hills(0.57, 0.04, rgb("7DB857"))
    if rng.random() < 0.6:
        _fence(scene)
    scene.hills(0.68, 0.012, rgb("4E9A47"))
    kind = scene.named("tulip", "sunflower", "rose", "daisy")
    tints = ["E63946", "FF8FA3", "FFB703", "9D4EDD", "FB6F92", "FF7B29"]
    rng.shuffle(tints)
    for row, (foot, size, count) in enumerate(((0.76, 0.09, 8), (0.88, 0.14, 6), (1.04, 0.22, 4))):
        shift = rng.uniform(-0.03, 0.03)
        for n in range(count):
            x = (n + 0.5) / count + shift + rng.uniform(-0.02, 0.02)
            tint = rgb(tints[(row + n % 2) % 6])
            _flower(scene.pen(x, foot + rng.uniform(-0.02, 0.02), size), kind, tint)
    for _ in range(2):
        wing = rgb(rng.choice(tints))
        _butterfly(scene.pen(rng.uniform(0.15, 0.85), rng.uniform(0.32, 0.5), 0.05), wing)


def _fence(scene: Scene) -> None:
    for rail in (0.6, 0.66):
        scene.band(rail, rail + 0.015, rgb("F1ECE0"))
    for n in range(9):
        pen = scene.pen((n + 0.5) / 9, 0.62, 0.1)
        pen.poly([(-0.22, 0.9), (-0.22, -0.6), (0, -0.9), (0.22, -0.6), (0.22, 0.9)], WHITE)
        pen.rect(0.1, -0.6, 0.22, 0.9, rgb("DCD6C8"))


def _flower(pen: Pen, kind: str, tint: Colour) -> None:
    stem = rgb("2F7D32")
    pen.line([(0, -0.6), (0, 0.6)], 0.09, stem)
    pen.poly([(0, 0.3), (0.12, -0.1), (0.48, -0.42), (0.36, 0.05)], rgb("3E9B41"))
    pen.poly([(0, 0.3), (-0.12, -0.05), (-0.48, -0.32), (-0.36, 0.1)], stem)
    if kind == "tulip":
        cup = [
            (-0.36, -1.15),
            (-0.38, -0.75),
            (-0.2, -0.48),
            (0.2, -0.48),
            (0.38, -0.75),
            (0.36, -1.15),
            (0.18, -0.92),
            (0, -1.25),
            (-0.18, -0.92),
        ]
        pen.poly(cup, tint)
        pen.poly([(0, -1.25), (0.18, -0.8), (0, -0.5), (-0.18, -0.8)], mix(tint, WHITE, 0.3))
    elif kind == "rose":
        for n in range(5):
            turn = math.radians(72 * n - 90)
            petal = mix(tint, INK, 0.08 * (n % 3))
            pen.disc(0.22 * math.cos(turn), -0.85 + 0.22 * math.sin(turn), 0.26, petal)
        pen.disc(0, -0.85, 0.26, mix(tint, WHITE, 0.22))
        for radius, start in ((0.26, 200), (0.17, 20), (0.08, 200)):
            pen.line(
                arc_points(0, -0.85, radius, radius, start, start + 230), 0.05, mix(tint, INK, 0.35)
            )
    else:
        sunflower = kind == "sunflower"
        petals = rgb("FFC300") if sunflower else mix(tint, WHITE, 0.75)
        for n in range(12):
            turn = math.radians(30 * n)
            pen.disc(0.36 * math.cos(turn), -0.85 + 0.36 * math.sin(turn), 0.15, petals)
        pen.disc(0, -0.85, 0.32, mix(petals, rgb("F08C00"), 0.5))
        heart = rgb("5C3A1E") if sunflower else rgb("FFB703")
        pen.disc(0, -0.85, 0.27, heart)


def _butterfly(pen: Pen, colour: Colour) -> None:
    for side in (-1, 1):
        pen.ellipse(0.5 * side, -0.35, 0.5, 0.42, colour)
        pen.ellipse(0.4 * side, 0.35, 0.36, 0.34, mix(colour, WHITE, 0.35))
    pen.line([(0, -0.6), (0, 0.6)], 0.16, INK)
