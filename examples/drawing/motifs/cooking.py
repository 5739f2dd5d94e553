"""The motif of cooking."""

import math

from drawing.paint import INK, WHITE, Colour, Pen, Scene, arc_points, mix, rgb
from drawing.palette import CREAM, GOLD


def cooking(scene: Scene) -> None:
    """Draw a steaming pot or a frying pan on the hob, with tools and vegetables."""
    rng = scene.rng
    wall = rng.choice((rgb("F6C667"), rgb("9ED2C6"), rgb("F4A698"), rgb("BFD7EA"), rgb("F2E3C6")))
    scene.sky(mix(wall, WHITE, 0.25), wall)
    tile = mix(wall, WHITE, 0.3)
    for row in range(1, 9):
        y = round(row / 9 * 0.72 * scene.height)
        scene.draw.line((0, y, scene.width, y), fill=tile, width=2)
        for n in range(8):
            x = round((n + row % 2 / 2) * scene.width / 7)
            rise = round(0.08 * scene.height)
            scene.draw.line((x, y - rise, x, y), fill=tile, width=2)
    _tools(scene)
    wood = rng.choice((rgb("A8672F"), rgb("8C5A3C"), rgb("6F4E37")))
    scene.band(0.72, 1, wood)
    scene.band(0.72, 0.755, mix(wood, WHITE, 0.3))
    scene.pen(0.5, 0.735, 1).pill(-0.34, -0.02, 0.34, 0.03, rgb("3A3F4B"))
    for n in range(7):
        flame = scene.pen(0.26 + 0.08 * n, 0.72, 0.045)
        flame.poly([(0, -1), (0.42, 0), (0, 0.35), (-0.42, 0)], rgb("3A86FF"))
        flame.poly([(0, -0.5), (0.2, 0.05), (0, 0.3), (-0.2, 0.05)], rgb("BDE0FE"))
    colour = rgb(rng.choice(("D62839", "1D7874", "F77F00", "33658A", "5F6C7B")))
    kind = rng.choice(("pot", "pot", "pan"))
    if kind == "pot":
        _pot(scene.pen(0.5, 0.5, 0.27), colour)
    else:
        _pan(scene.pen(0.46, 0.6, 0.3))
    for n in range(3):
        _steam(scene, 0.38 + 0.12 * n, 0.34 if kind == "pot" else 0.45, rng.uniform(0.16, 0.24))
    foods = [_tomato, _carrot, _onion, _pepper]
    rng.shuffle(foods)
    for x, food in zip((0.13, 0.86, 0.66), foods, strict=False):
        food(scene.pen(x, rng.uniform(0.85, 0.9), 0.085))


def _tools(scene: Scene) -> None:
    scene.band(0.1, 0.115, rgb("5C4033"))
    steel = rgb("6B7280")
    for n, kind in enumerate(scene.rng.sample(("ladle", "fork", "whisk", "board"), 3)):
        pen = scene.pen((0.16, 0.34, 0.86)[n], 0.11, 0.12)
        pen.line([(0, 0), (0, 1.1)], 0.1, steel if kind != "board" else rgb("8C5A3C"))
        if kind == "ladle":
            pen.ellipse(0, 1.2, 0.4, 0.42, steel, (0, 180))
        elif kind == "fork":
            pen.rect(-0.28, 1.05, 0.28, 1.22, steel)
            for x in (-0.22, 0, 0.22):
                pen.line([(x, 1.2), (x, 1.65)], 0.1, steel)
        elif kind == "whisk":
            for width in (0.34, 0.14):
                pen.line(arc_points(0, 1.4, width, 0.45), 0.06, steel)
        else:
            pen.pill(-0.35, 0.35, 0.35, 1.6, rgb("C98B52"))


def _steam(scene: Scene, x: float, foot: float, rise: float) -> None:
    phase = scene.rng.uniform(0, 6.3)
    heights = [n / 24 for n in range(25)]
    left = [(x + 0.025 * math.sin(phase + 7 * t), foot - rise * t) for t in heights]
    wide = [0.006 + 0.028 * math.sin(math.pi * t) for t in heights]
    right = [(px + w, py) for (px, py), w in zip(left, wide, strict=True)]
    shape = [*((px - w, py) for (px, py), w in zip(left, wide, strict=True)), *reversed(right)]
    scene.veil(shape, WHITE, 0.8, 0.004)


def _pot(pen: Pen, colour: Colour) -> None:
    dark, light = mix(colour, INK, 0.3), mix(colour, WHITE, 0.35)
    for side in (-1, 1):
        pen.line(
            [(1 * side, -0.2), (1.28 * side, -0.2), (1.28 * side, 0.05), (1 * side, 0.05)],
            0.13,
            dark,
        )
    pen.rect(-1.05, -0.45, 1.05, 0.5, colour)
    pen.ellipse(0, 0.5, 1.05, 0.3, colour)
    pen.poly([(0.6, -0.45), (1.05, -0.45), (1.05, 0.5), (0.85, 0.68), (0.6, 0.76)], dark)
    pen.pill(-0.88, -0.3, -0.7, 0.5, light)
    pen.ellipse(0, -0.45, 1.12, 0.17, light)
    pen.ellipse(0, -0.45, 0.98, 0.11, rgb("E4572E") if colour != rgb("D62839") else GOLD)
    pen.line([(0.1, -0.42), (0.75, -1.15)], 0.12, rgb("B97A4A"))
    for x, tint in ((-0.5, "7DB857"), (-0.1, "FFF3D6"), (-0.3, "F4A261")):
        pen.ellipse(x, -0.45, 0.12, 0.05, rgb(tint))


def _pan(pen: Pen) -> None:
    iron = rgb("30343F")
    pen.line([(0.8, -0.02), (1.6, -0.25)], 0.16, rgb("7A4A2B"))
    pen.ellipse(0, 0.15, 0.98, 0.3, mix(iron, INK, 0.5))
    pen.ellipse(0, 0, 1.05, 0.34, iron)
    pen.ellipse(0, 0, 0.92, 0.27, rgb("4B5162"))
    for x in (-0.36, 0.34):
        pen.ellipse(x, -0.01, 0.42, 0.18, WHITE)
        pen.ellipse(x, -0.05, 0.17, 0.11, rgb("FFB703"))
        pen.ellipse(x - 0.05, -0.09, 0.05, 0.03, CREAM)


def _tomato(pen: Pen) -> None:
    pen.ellipse(0, 0, 0.9, 0.8, rgb("E63946"))
    pen.ellipse(-0.35, -0.25, 0.2, 0.14, rgb("FF8A80"))
    for n in range(5):
        turn = math.radians(72 * n - 90)
        pen.line(
            [(0, -0.65), (0.4 * math.cos(turn), -0.65 + 0.22 * math.sin(turn))], 0.14, rgb("2F7D32")
        )


def _carrot(pen: Pen) -> None:
    for x, y in ((-1.05, -0.75), (-1.3, -0.4), (-1.3, 0)):
        pen.line([(-0.7, -0.3), (x, y)], 0.2, rgb("3E9B41"))
    pen.poly([(-0.85, -0.5), (-0.5, -0.65), (1.3, 0.55), (-0.65, 0.2), (-0.9, -0.1)], rgb("F77F00"))
    for x in (-0.3, 0.1, 0.5):
        pen.line([(x, x * 0.55 - 0.2), (x - 0.1, x * 0.5 + 0.05)], 0.06, rgb("C65D00"))


def _onion(pen: Pen) -> None:
    skin = rgb("B5518A")
    pen.poly([(-0.2, -0.6), (0, -1.3), (0.2, -0.6)], mix(skin, CREAM, 0.5))
    pen.ellipse(0, 0, 0.85, 0.8, skin)
    pen.ellipse(0, 0, 0.45, 0.8, mix(skin, WHITE, 0.25))
    pen.ellipse(0, 0, 0.15, 0.8, mix(skin, WHITE, 0.45))


def _pepper(pen: Pen) -> None:
    pen.line([(0, -0.5), (0.15, -1.1)], 0.2, rgb("2F7D32"))
    for x, shade in ((-0.42, 0.0), (0.42, 0.2), (0, 0.08)):
        pen.ellipse(x, 0, 0.46, 0.8, mix(rgb("FFC300"), rgb("D9822B"), shade * 3))
