"""The motif of forest."""

from drawing.paint import INK, WHITE, Colour, Pen, Scene, mix, rgb
from drawing.palette import CREAM, GOLD


def forest(scene: Scene) -> None:
    """Draw a fox, bear or owl among misty pines."""
    rng = scene.rng
    moods = (("CFE8C9", "8FC3A0", "2E6B57"), ("F9D9A0", "D99A5B", "5B5A34"))
    light, mist, deep = (rgb(c) for c in rng.choice((*moods, ("2A4A6B", "3B6B7A", "123A3D"))))
    scene.sky(light, mist, mix(mist, deep, 0.4))
    scene.sun(rng.uniform(0.2, 0.8), rng.uniform(0.14, 0.24), 0.09, CREAM)
    for layer in range(3):
        colour = mix(mist, deep, 0.3 + 0.3 * layer)
        foot = 0.62 + 0.09 * layer
        for n in range(9 - 2 * layer):
            x = (n + rng.uniform(0.2, 0.8)) / (9 - 2 * layer)
            scene.pine(x, foot + 0.03, rng.uniform(0.3, 0.4) + 0.08 * layer, colour)
        scene.hills(foot, 0.015, colour)
    ground = mix(deep, INK, 0.3)
    animal = scene.named("fox", "bear", "owl")
    x = rng.uniform(0.42, 0.58)
    scene.glow(x, 0.6, 0.42, light, 0.5)
    scene.hills(0.86, 0.015, ground)
    if animal == "owl":
        wood = rgb("5B3A29")
        scene.pen(0, 0.8, 1).line([(-0.1, 0.03), (0.5, 0), (1.1, -0.05)], 0.06, wood)
        _owl(scene.pen(x, 0.58, 0.25), rng.choice((rgb("8A5A3B"), rgb("A9784F"), rgb("6E5A4F"))))
    elif animal == "bear":
        _bear(scene.pen(x, 0.64, 0.27), rng.choice((rgb("6B4329"), rgb("7E5233"))))
    else:
        _fox(scene.pen(x, 0.64, 0.27, 0, rng.random() < 0.5))
    for side in (0.02, 0.98):
        scene.pine(side, 1.02, rng.uniform(0.55, 0.75), mix(ground, INK, 0.2))
    for _ in range(4):
        stem = scene.pen(rng.uniform(0.2, 0.8), rng.uniform(0.92, 0.98), 0.035)
        stem.rect(-0.3, 0, 0.3, 0.9, CREAM)
        stem.ellipse(0, 0, 0.9, 0.8, rgb("D9432F"), (180, 360))


def _eyes(pen: Pen, x: float, y: float, radius: float) -> None:
    for side in (-x, x):
        pen.disc(side, y, radius, INK)
        pen.disc(side + radius * 0.3, y - radius * 0.35, radius * 0.32, WHITE)


def _fox(pen: Pen) -> None:
    coat, dark = rgb("E8702A"), rgb("B84E17")
    pen.line([(0.4, 0.75), (0.95, 0.6), (1.05, 0.1), (0.85, -0.25)], 0.34, coat)
    pen.disc(0.85, -0.27, 0.17, CREAM)
    pen.ellipse(0, 0.42, 0.55, 0.62, coat)
    pen.ellipse(0, 0.42, 0.27, 0.5, CREAM)
    for side in (-1, 1):
        pen.line([(0.17 * side, 0.4), (0.17 * side, 0.95)], 0.18, dark)
        pen.poly([(0.16 * side, -0.72), (0.58 * side, -1.25), (0.66 * side, -0.5)], coat)
        pen.poly([(0.34 * side, -0.78), (0.54 * side, -1.08), (0.57 * side, -0.6)], INK)
    pen.poly(
        [
            (-0.62, -0.72),
            (0.62, -0.72),
            (0.82, -0.3),
            (0.2, 0.1),
            (0, 0.2),
            (-0.2, 0.1),
            (-0.82, -0.3),
        ],
        coat,
    )
    for side in (-1, 1):
        pen.poly([(0.82 * side, -0.3), (0.3 * side, -0.42), (0, 0.18), (0.2 * side, 0.1)], CREAM)
    _eyes(pen, 0.3, -0.42, 0.09)
    pen.ellipse(0, 0.13, 0.11, 0.08, INK)


def _bear(pen: Pen, coat: Colour) -> None:
    dark, muzzle = mix(coat, INK, 0.25), rgb("D9B48F")
    pen.ellipse(0, 0.42, 0.78, 0.66, coat)
    pen.ellipse(0, 0.5, 0.45, 0.45, mix(coat, muzzle, 0.4))
    for side in (-1, 1):
        pen.ellipse(0.55 * side, 0.9, 0.3, 0.2, dark)
        pen.line([(0.62 * side, 0.15), (0.5 * side, 0.6)], 0.28, dark)
        pen.disc(0.5 * side, -0.88, 0.23, coat)
        pen.disc(0.5 * side, -0.88, 0.12, muzzle)
    pen.ellipse(0, -0.42, 0.68, 0.6, coat)
    pen.ellipse(0, -0.2, 0.33, 0.26, muzzle)
    pen.ellipse(0, -0.31, 0.13, 0.09, INK)
    pen.line([(0, -0.28), (0, -0.12)], 0.03, INK)
    _eyes(pen, 0.27, -0.55, 0.08)


def _owl(pen: Pen, coat: Colour) -> None:
    dark, face = mix(coat, INK, 0.35), mix(coat, CREAM, 0.7)
    pen.rect(-0.22, 0.7, 0.22, 1.25, dark)
    for side in (-1, 1):
        pen.poly([(0.2 * side, -0.85), (0.6 * side, -1.2), (0.62 * side, -0.6)], dark)
    pen.ellipse(0, 0, 0.68, 0.98, coat)
    pen.ellipse(0, 0.32, 0.42, 0.56, face)
    for row in range(3):
        for n in range(3 - row % 2):
            x = (n - (2 - row % 2) / 2) * 0.24
            pen.ellipse(x, 0.14 + 0.2 * row, 0.09, 0.07, coat, (0, 180))
    for side in (-1, 1):
        pen.ellipse(0.58 * side, 0.15, 0.2, 0.62, dark)
        pen.disc(0.29 * side, -0.45, 0.33, face)
        pen.disc(0.27 * side, -0.45, 0.22, GOLD)
        pen.line([(0.16 * side, 0.9), (0.16 * side, 1)], 0.14, GOLD)
    _eyes(pen, 0.26, -0.45, 0.14)
    pen.poly([(-0.1, -0.36), (0.1, -0.36), (0, -0.12)], rgb("F08C00"))
