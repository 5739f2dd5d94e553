"""Motifs of made things: kitchen, noir, trains, jazz, football, robots and castles."""

import math

from drawing.outdoors import CREAM, DAWN, DAY, GOLD, NIGHT, SUNSET
from drawing.paint import INK, WHITE, Colour, Pen, Scene, arc_points, mix, rgb

BRASS = rgb("F2B632")


def cooking(scene: Scene) -> None:
    """A steaming pot or a frying pan on the hob, with tools and vegetables."""
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


def noir(scene: Scene) -> None:
    """A figure in hat and coat under a street lamp, before a lit skyline."""
    rng = scene.rng
    moods = (("0B132B", "1C2B4F", "4A5D8A"), ("160F29", "3B2352", "8C4A6B"))
    stops = [rgb(c) for c in rng.choice((*moods, ("0A1F1F", "16423F", "4E8A7C")))]
    scene.sky(*stops)
    scene.sun(rng.uniform(0.2, 0.8), rng.uniform(0.14, 0.22), 0.09, rgb("F6EBC8"))
    _skyline(scene, 0.35, mix(stops[1], stops[2], 0.35), 8, 0.25)
    _skyline(scene, 0.5, mix(stops[0], stops[1], 0.4), 6, 0.4)
    street = mix(stops[0], INK, 0.5)
    scene.band(0.8, 1, street)
    scene.band(0.8, 0.81, mix(stops[2], WHITE, 0.1))
    left = rng.random() < 0.5
    post, figure = (0.24, 0.58) if left else (0.76, 0.42)
    beam = [(post - 0.03, 0.28), (post + 0.03, 0.28), (post + 0.38, 0.92), (post - 0.38, 0.92)]
    scene.veil(beam, rgb("FFE08A"), 0.4, 0.02)
    scene.glow(post, 0.27, 0.2, rgb("FFE9A8"), 0.9)
    pen = scene.pen(post, 0.9, 0.1)
    pen.line([(0, 0), (0, -6 * scene.height / scene.width)], 0.2, INK)
    pen.pill(-0.5, -0.15, 0.5, 0.15, INK)
    lamp = scene.pen(post, 0.27, 0.06)
    lamp.poly([(-0.7, -0.6), (0.7, -0.6), (0.45, 0.6), (-0.45, 0.6)], rgb("FFF3C4"))
    lamp.poly([(-0.9, -0.6), (0.9, -0.6), (0, -1.3)], INK)
    shade = [
        (figure - 0.08, 0.93),
        (figure + 0.1, 0.93),
        (figure + (0.3 if left else 0.02), 1),
        (figure - (0.02 if left else 0.3), 1),
    ]
    scene.veil(shade, INK, 0.7, 0.01)
    accent = rgb(rng.choice(("D62839", "F2B632", "5EC4B6")))
    coat = rgb(rng.choice(("8F6B47", "6B5B73", "4F5D7A", "7A6A55")))
    _sleuth(scene.pen(figure, 0.66, 0.3, 0, left), coat, accent)
    if rng.random() < 0.6:
        _rain(scene, mix(stops[2], WHITE, 0.35))


def _skyline(scene: Scene, top: float, colour: Colour, count: int, lit: float) -> None:
    rng = scene.rng
    wide = 1 / count
    for n in range(count + 1):
        left = (n - 0.5) * wide + rng.uniform(-0.02, 0.02)
        roof = top + rng.uniform(-0.1, 0.14)
        right = left + wide * rng.uniform(0.9, 1.05)
        box = (left * scene.width, roof * scene.height, right * scene.width, 0.82 * scene.height)
        scene.draw.rectangle(box, fill=colour)
        for row in range(int((0.76 - roof) / 0.055)):
            for column in range(3):
                if rng.random() < lit:
                    x, y = left + wide * (0.2 + 0.25 * column), roof + 0.03 + 0.055 * row
                    pen = scene.pen(x, y, 1)
                    glass = rng.choice((rgb("FFD166"), rgb("FFE9A8"), rgb("F4A259")))
                    pen.rect(0, 0, wide * 0.15, 0.027, glass)


def _sleuth(pen: Pen, coat: Colour, accent: Colour) -> None:
    dark, felt = mix(coat, INK, 0.45), mix(coat, INK, 0.7)
    for x in (-0.2, 0.2):
        pen.line([(x, 0.5), (x, 0.88)], 0.17, rgb("20202E"))
        pen.pill(x - 0.1, 0.85, x + 0.22, 0.97, rgb("0B0B12"))
    pen.poly(
        [
            (-0.16, -0.5),
            (0.16, -0.5),
            (0.46, -0.36),
            (0.42, 0.1),
            (0.5, 0.66),
            (-0.5, 0.66),
            (-0.42, 0.1),
            (-0.46, -0.36),
        ],
        coat,
    )
    pen.poly([(0.02, -0.45), (0.46, -0.36), (0.42, 0.1), (0.5, 0.66), (0.2, 0.66)], dark)
    pen.rect(-0.42, 0.04, 0.42, 0.13, felt)
    pen.poly([(-0.12, -0.48), (0, -0.12), (0.12, -0.48)], WHITE)
    pen.poly([(-0.04, -0.42), (0.04, -0.42), (0.03, -0.16), (-0.03, -0.16)], accent)
    pen.ellipse(0, -0.68, 0.19, 0.24, rgb("D9A77A"))
    pen.ellipse(0.05, -0.66, 0.14, 0.22, rgb("A9744F"))
    for side in (-1, 1):
        pen.poly(
            [(0.05 * side, -0.45), (0.26 * side, -0.66), (0.38 * side, -0.36)],
            mix(coat, WHITE, 0.2),
        )
    pen.poly(
        [(-0.24, -0.8), (-0.2, -1.12), (-0.06, -1.06), (0.06, -1.06), (0.2, -1.12), (0.24, -0.8)],
        felt,
    )
    pen.rect(-0.24, -0.88, 0.24, -0.79, accent)
    pen.ellipse(0, -0.78, 0.48, 0.09, felt)


def _rain(scene: Scene, colour: Colour) -> None:
    for _ in range(60):
        x, y = scene.rng.random(), scene.rng.random()
        scene.pen(x, y, 0.05).line([(0, 0), (-0.25, 1)], 0.05, colour)


def trains(scene: Scene) -> None:
    """A steam locomotive pulling a carriage over rails or a viaduct."""
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


def jazz(scene: Scene) -> None:
    """A spotlit club stage with piano keys, and a trumpet, grand piano or saxophone."""
    rng = scene.rng
    moods = (("1A0B2E", "4A1942", "8C2F5B"), ("0B1B3B", "16436B", "2E86AB"))
    stops = [rgb(c) for c in rng.choice((*moods, ("2B0A12", "6A1521", "B23A48")))]
    scene.sky(*stops)
    warm = rgb("FFD68A")
    for top, foot in ((0.1, 0.4), (0.5, 0.5), (0.9, 0.6)):
        beam = [(top - 0.02, -0.02), (top + 0.02, -0.02), (foot + 0.28, 0.8), (foot - 0.28, 0.8)]
        scene.veil(beam, warm, rng.uniform(0.12, 0.24), 0.015)
    scene.glow(0.5, 0.48, 0.5, warm, 0.55)
    fold = mix(stops[1], rgb("C1121F"), 0.45)
    for side in (0, 1):
        for n in range(3):
            x = (0.03 + 0.055 * n) if side == 0 else (0.97 - 0.055 * n)
            pen = scene.pen(x, 0.4, 1)
            pen.pill(-0.035, -0.9, 0.035, 0.65 - 0.09 * n, mix(fold, INK, 0.15 + 0.2 * (n % 2)))
    kind = scene.named("trumpet", "grand", "sax")
    if "piano" in scene.words and "trumpet" not in scene.words:
        kind = "grand"
    tilt = rng.uniform(-14, 6)
    if kind == "trumpet":
        _trumpet(scene.pen(0.5, 0.46, 0.33, tilt - 8, rng.random() < 0.4))
    elif kind == "sax":
        _sax(scene.pen(0.5, 0.44, 0.3, tilt, rng.random() < 0.4))
    else:
        _grand(scene.pen(0.5, 0.52, 0.31))
    _keys(scene, 0.8)
    for _ in range(5):
        x, y = rng.uniform(0.15, 0.85), rng.uniform(0.08, 0.3)
        _note(scene.pen(x, y, rng.uniform(0.04, 0.06), rng.uniform(-15, 15)), rng.random() < 0.5)


def _keys(scene: Scene, top: float) -> None:
    count = 10 if scene.width >= scene.height else 8
    wide = scene.width / count
    scene.band(top - 0.02, 1, rgb("15131F"))
    head, foot = top * scene.height, scene.height
    for n in range(count):
        box = (n * wide + 2, head, (n + 1) * wide - 2, foot)
        scene.draw.rectangle(box, fill=rgb("FBF8EF"))
    start = scene.rng.choice((0, 3))
    for n in range(count + 1):
        if (n + start) % 7 not in (0, 3):
            box = ((n - 0.3) * wide, head, (n + 0.3) * wide, head + (foot - head) * 0.6)
            scene.draw.rectangle(box, fill=rgb("15131F"))


def _note(pen: Pen, pair: bool) -> None:
    pen.ellipse(0, 0, 0.42, 0.32, GOLD)
    pen.line([(0.36, 0), (0.36, -1.3)], 0.13, GOLD)
    if pair:
        pen.ellipse(1.05, -0.15, 0.42, 0.32, GOLD)
        pen.line([(1.4, -0.15), (1.4, -1.5)], 0.13, GOLD)
        pen.poly([(0.3, -1.4), (1.46, -1.6), (1.46, -1.3), (0.3, -1.1)], GOLD)
    else:
        pen.line([(0.36, -1.3), (0.8, -0.85)], 0.15, GOLD)


def _trumpet(pen: Pen) -> None:
    brass, dark, light = BRASS, rgb("A86A12"), rgb("FFE9A8")
    pen.line([(-0.45, -0.02), (-0.45, 0.32), (0.4, 0.32), (0.4, -0.02)], 0.12, dark)
    pen.line([(-0.45, -0.02), (-0.45, 0.3), (0.4, 0.3), (0.4, -0.02)], 0.08, brass)
    for x in (-0.16, 0.0, 0.16):
        pen.pill(x - 0.07, -0.2, x + 0.07, 0.48, dark)
        pen.pill(x - 0.05, -0.2, x + 0.03, 0.46, brass)
        pen.line([(x, -0.2), (x, -0.36)], 0.05, light)
        pen.pill(x - 0.08, -0.43, x + 0.08, -0.36, WHITE)
    pen.line([(-1.1, -0.02), (0.7, -0.02)], 0.1, dark)
    pen.line([(-1.1, -0.04), (0.7, -0.04)], 0.06, brass)
    pen.poly([(-1.22, -0.13), (-1.05, -0.07), (-1.05, 0.03), (-1.22, 0.09)], light)
    pen.poly(
        [
            (0.5, -0.08),
            (0.85, -0.14),
            (1.05, -0.26),
            (1.18, -0.48),
            (1.18, 0.44),
            (1.05, 0.22),
            (0.85, 0.1),
            (0.5, 0.04),
        ],
        brass,
    )
    pen.poly(
        [
            (0.5, 0),
            (0.85, 0.03),
            (1.05, 0.1),
            (1.18, 0.25),
            (1.18, 0.44),
            (1.05, 0.22),
            (0.85, 0.1),
            (0.5, 0.04),
        ],
        dark,
    )
    pen.ellipse(1.18, -0.02, 0.1, 0.46, dark)
    pen.ellipse(1.16, -0.02, 0.06, 0.4, light)


def _sax(pen: Pen) -> None:
    brass, dark, light = BRASS, rgb("A86A12"), rgb("FFE9A8")
    for width, colour in ((0.26, dark), (0.2, brass)):
        body = [(-0.24, -0.85), (-0.12, 0.5), (0.02, 0.78), (0.26, 0.86), (0.46, 0.7)]
        pen.line([*body, (0.56, 0.3)], width, colour)
    pen.poly([(0.45, 0.45), (0.26, -0.22), (0.98, -0.22), (0.68, 0.45)], brass)
    pen.ellipse(0.62, -0.22, 0.37, 0.13, light)
    pen.ellipse(0.62, -0.22, 0.28, 0.08, dark)
    pen.line([(-0.24, -0.85), (-0.3, -1.05), (-0.55, -1.08), (-0.7, -0.95)], 0.12, brass)
    pen.line([(-0.7, -0.95), (-0.82, -0.84)], 0.16, INK)
    for n in range(5):
        pen.disc(-0.19 + 0.025 * n, -0.55 + 0.24 * n, 0.085, light)
        pen.disc(-0.19 + 0.025 * n, -0.55 + 0.24 * n, 0.05, dark)


def _grand(pen: Pen) -> None:
    black, sheen = rgb("121019"), rgb("3B3648")
    for x in (-0.75, 0.1, 0.85):
        pen.poly([(x - 0.07, 0.1), (x + 0.07, 0.1), (x + 0.035, 0.82), (x - 0.035, 0.82)], black)
        pen.disc(x, 0.84, 0.06, BRASS)
    pen.poly(
        [(-0.55, -0.2), (-0.35, -0.95), (0.35, -1.1), (0.8, -0.85), (1.15, -0.3), (1.1, -0.14)],
        black,
    )
    pen.poly([(-0.45, -0.24), (-0.28, -0.86), (0.34, -1), (0.72, -0.78), (1, -0.3)], sheen)
    pen.line([(0.5, -0.12), (0.3, -0.6)], 0.04, BRASS)
    pen.poly([(-1.1, -0.12), (1.15, -0.2), (1.12, 0.14), (0.95, 0.22), (-1.1, 0.22)], black)
    pen.line([(-0.6, -0.08), (1.1, -0.14)], 0.04, BRASS)
    pen.rect(-1.12, -0.02, -0.6, 0.08, WHITE)
    for n in range(5):
        pen.rect(-1.05 + 0.09 * n, -0.02, -1.01 + 0.09 * n, 0.04, black)
    pen.pill(-1.5, 0.38, -1.05, 0.5, rgb("7A1E2E"))
    for x in (-1.42, -1.13):
        pen.line([(x, 0.5), (x, 0.85)], 0.05, black)


def football(scene: Scene) -> None:
    """A large ball on a striped pitch, with a goal, a crowd and floodlights."""
    rng = scene.rng
    stops = rng.choice((DAY, SUNSET, NIGHT, (rgb("2C7DA0"), rgb("89C2D9"), rgb("E9F5DB"))))
    scene.sky(*stops)
    for x in (0.1, 0.9):
        pen = scene.pen(x, 0.12, 0.1)
        pen.line([(0, 0), (0, 4)], 0.14, rgb("5C677D"))
        pen.rect(-0.8, -0.55, 0.8, 0.3, rgb("33415C"))
        for n in range(8):
            pen.disc(-0.57 + 0.38 * (n % 4), -0.35 + 0.4 * (n // 4), 0.14, rgb("FFFBE0"))
        scene.glow(x, 0.11, 0.25, WHITE, 0.5)
    scene.band(0.3, 0.52, rgb("33415C"))
    team = [
        rgb(c)
        for c in rng.choice(
            (("E63946", "FFFFFF"), ("FFD166", "1D4E89"), ("FFFFFF", "6A4C93"), ("F77F00", "2B2D42"))
        )
    ]
    for row in range(6):
        for n in range(24):
            x, y = (n + row % 2 / 2) / 24, 0.32 + 0.033 * row
            scene.pen(x, y, 0.017).disc(0, 0, 1, rng.choice((*team, rgb("D9A77A"))))
    scene.band(0.5, 0.54, team[0])
    greens = (rgb("3E9B41"), rgb("58B65B"))
    scene.band(0.54, 1, greens[0])
    for n in range(-4, 5):
        stripe = [
            (0.5 + 0.1 * n, 0.54),
            (0.55 + 0.1 * n, 0.54),
            (0.58 + 0.28 * n, 1.0),
            (0.44 + 0.28 * n, 1.0),
        ]
        scene.draw.polygon([(x * scene.width, y * scene.height) for x, y in stripe], fill=greens[1])
    side = rng.choice((-1, 1))
    _goal(scene.pen(0.5 + 0.12 * side, 0.6, 0.3))
    scene.pen(0.5, 0.66, 1).line([(-1, 0), (1, 0)], 0.012, WHITE)
    scene.pen(0.5, 0.86, 1).line(arc_points(0, 0, 0.42, 0.16), 0.012, WHITE)
    x, y = 0.5 - rng.uniform(0.02, 0.2) * side, rng.uniform(0.64, 0.76)
    scene.veil([(x + px, 0.93 + py) for px, py in arc_points(0, 0, 0.17, 0.025)], INK, 0.45, 0.01)
    _ball(scene.pen(x, y, rng.uniform(0.18, 0.215), rng.uniform(0, 72)))


def _goal(pen: Pen) -> None:
    mesh = rgb("D5DDE8")
    for n in range(11):
        pen.line([(-1 + 0.2 * n, -0.8), (-0.85 + 0.17 * n, 0)], 0.012, mesh)
    for n in range(6):
        pen.line([(-0.97, -0.75 + 0.14 * n), (0.97, -0.75 + 0.14 * n)], 0.012, mesh)
    pen.line([(-1, 0.08), (-1, -0.8), (1, -0.8), (1, 0.08)], 0.07, WHITE)


def _ball(pen: Pen) -> None:
    pen.disc(0, 0, 1, rgb("23262F"))
    pen.disc(0, 0, 0.96, rgb("F7F8FB"))
    seam, patch = rgb("8A93A6"), rgb("1E2230")
    for n in range(5):
        turn = math.radians(72 * n - 90)
        cos, sin = math.cos(turn), math.sin(turn)
        pen.line([(0.36 * cos, 0.36 * sin), (0.68 * cos, 0.68 * sin)], 0.035, seam)
        tip = math.radians(72 * n - 54)
        for other in (72 * n - 90, 72 * n - 18):
            edge = math.radians(other)
            bend = (edge - tip) * 0.55 + tip
            pen.line(
                [
                    (0.7 * math.cos(edge), 0.7 * math.sin(edge)),
                    (0.76 * math.cos(bend), 0.76 * math.sin(bend)),
                ],
                0.035,
                seam,
            )
        rim = arc_points(0, 0, 0.96, 0.96, 72 * n - 109, 72 * n - 71)
        inner = [(0.8 * math.cos(turn + s), 0.8 * math.sin(turn + s)) for s in (0.3, -0.3)]
        pen.poly([*rim, inner[0], (0.64 * cos, 0.64 * sin), inner[1]], patch)
    pen.poly(
        [
            (0.38 * math.cos(t), 0.38 * math.sin(t))
            for t in (math.radians(72 * n - 90) for n in range(5))
        ],
        patch,
    )


def robots(scene: Scene) -> None:
    """A friendly robot before circuit traces, gears and glowing screens."""
    rng = scene.rng
    back = rng.choice((rgb("123C4A"), rgb("2B2D5B"), rgb("0F4C4C"), rgb("E9D8A6"), rgb("BDE0FE")))
    dim = sum(back) < 380
    scene.sky(mix(back, WHITE, 0.12), mix(back, INK, 0.15))
    trace = mix(back, rgb("4DE1C1") if dim else INK, 0.35)
    _circuit(scene, trace)
    for x, y, size in ((0.1, 0.2, 0.13), (0.92, 0.34, 0.17), (0.06, 0.66, 0.15)):
        _gear(scene.pen(x, y, size, rng.uniform(0, 40)), mix(back, WHITE if dim else INK, 0.22))
    scene.glow(0.5, 0.5, 0.55, rgb("9CF6E4") if dim else WHITE, 0.4)
    floor = mix(back, INK, 0.45)
    scene.band(0.87, 1, floor)
    if rng.random() < 0.6:
        _screen(scene.pen(rng.choice((0.16, 0.84)), 0.78, 0.13), scene)
    metals = ("E63946", "F4A261", "2EC4B6", "8D99AE", "FFD166", "5E9BF5", "E8ECF4")
    body, trim = (rgb(c) for c in rng.sample(metals, 2))
    _robot(scene.pen(0.5, 0.55, rng.uniform(0.33, 0.37)), body, trim, rng.random() < 0.5)


def _circuit(scene: Scene, colour: Colour) -> None:
    rng = scene.rng
    for n in range(11):
        x, y = (n + 0.5) / 11, rng.choice((0.02, 0.98))
        bend = y + rng.uniform(0.12, 0.4) * (1 if y < 0.5 else -1)
        end = x + rng.choice((-0.08, 0.08, 0.16, -0.16))
        points = [(x, y), (x, bend), (end, bend + 0.08 * (1 if y < 0.5 else -1))]
        places = [
            ((px - 0.5) * scene.width / scene.unit, (py - 0.5) * scene.height / scene.unit)
            for px, py in points
        ]
        pen = scene.pen(0.5, 0.5, 1)
        pen.line(places, 0.012, colour)
        pen.disc(*places[-1], 0.02, colour)


def _gear(pen: Pen, colour: Colour) -> None:
    for n in range(8):
        turn = math.radians(45 * n)
        pen.line([(0, 0), (0.95 * math.cos(turn), 0.95 * math.sin(turn))], 0.28, colour)
    pen.disc(0, 0, 0.8, colour)
    pen.disc(0, 0, 0.34, mix(colour, INK, 0.5))


def _screen(pen: Pen, scene: Scene) -> None:
    pen.rect(-0.15, 0.4, 0.15, 0.75, rgb("6B7280"))
    pen.pill(-0.55, 0.62, 0.55, 0.8, rgb("6B7280"))
    pen.rect(-1.05, -0.85, 1.05, 0.5, rgb("D5DDE8"))
    pen.rect(-0.92, -0.72, 0.92, 0.36, rgb("0B2B26"))
    for row in range(4):
        width = scene.rng.uniform(0.5, 1.5)
        pen.pill(-0.75, -0.6 + 0.23 * row, -0.75 + width, -0.5 + 0.23 * row, rgb("3DDC84"))


def _robot(pen: Pen, body: Colour, trim: Colour, wave: bool) -> None:
    dark, light, joint = mix(body, INK, 0.28), mix(body, WHITE, 0.4), rgb("9AA6BA")
    for x in (-0.28, 0.28):
        pen.line([(x, 0.5), (x, 0.85)], 0.14, joint)
        pen.pill(x - 0.24, 0.8, x + 0.24, 0.98, trim)
    lift = -0.55 if wave else 0.35
    for elbow, hand in (((-0.85, 0.25), (-0.8, 0.5)), ((0.88, -0.05), (0.92, lift))):
        pen.line([(math.copysign(0.5, elbow[0]), -0.05), elbow, hand], 0.13, joint)
        pen.disc(*hand, 0.15, trim)
        gap = -0.12 if hand[1] < 0 else 0.12
        pen.disc(hand[0], hand[1] + gap, 0.08, mix(joint, INK, 0.4))
    pen.rect(-0.12, -0.4, 0.12, -0.15, joint)
    pen.rect(-0.55, -0.22, 0.55, 0.58, body)
    pen.rect(0.3, -0.22, 0.55, 0.58, dark)
    pen.rect(-0.36, -0.08, 0.36, 0.34, rgb("263043"))
    for n, tint in enumerate(("FF5964", "FFD166", "3DDC84")):
        pen.disc(-0.2 + 0.2 * n, 0.05, 0.065, rgb(tint))
    pen.pill(-0.27, 0.18, 0.27, 0.27, rgb("4DE1C1"))
    pen.line([(0, -0.95), (0, -1.22)], 0.06, joint)
    pen.disc(0, -1.25, 0.1, rgb("FF5964"))
    for side in (-1, 1):
        pen.pill(0.55 * side - 0.09, -0.82, 0.55 * side + 0.09, -0.5, trim)
    pen.rect(-0.55, -1, 0.55, -0.34, body)
    pen.rect(-0.55, -1, 0.55, -0.92, light)
    pen.rect(-0.44, -0.88, 0.44, -0.46, rgb("1B2434"))
    for x in (-0.2, 0.2):
        pen.disc(x, -0.72, 0.11, rgb("6EF3DB"))
        pen.disc(x + 0.03, -0.75, 0.035, WHITE)
    pen.line(arc_points(0, -0.6, 0.14, 0.07, 20, 160), 0.03, rgb("6EF3DB"))


def castles(scene: Scene) -> None:
    """A castle with flags and a gate on a hill, sometimes with a knight's shield."""
    rng = scene.rng
    stops = rng.choice((DAY, SUNSET, DAWN, NIGHT))
    scene.sky(*stops)
    if stops is NIGHT:
        scene.stars(50, 0.5)
    scene.sun(rng.uniform(0.12, 0.88), rng.uniform(0.12, 0.24), 0.08, CREAM)
    scene.cloud(rng.random(), rng.uniform(0.28, 0.4), 0.12, mix(stops[2], WHITE, 0.45))
    green = rng.choice((rgb("5C9E4A"), rgb("3F7D54"), rgb("7A9A3E")))
    scene.crags(0.66, 0.14, mix(stops[1], green, 0.25), 6)
    scene.hills(0.7, 0.04, mix(green, WHITE, 0.2))
    stone = rng.choice((rgb("B8B8C8"), rgb("C9B79C"), rgb("9AA5B8"), rgb("D8C3A5")))
    roof = rgb(rng.choice(("C1121F", "1D4E89", "6A4C93", "2A7F62")))
    flag = rgb(rng.choice(("FFD166", "E63946", "F77F00")))
    _castle(scene.pen(0.5, 0.78, rng.uniform(0.36, 0.4)), stone, roof, flag)
    scene.hills(0.82, 0.015, green)
    path = [(0.46, 0.78), (0.54, 0.78), (0.62, 1), (0.34, 1)]
    scene.draw.polygon([(x * scene.width, y * scene.height) for x, y in path], fill=rgb("E3CFA4"))
    for x in (0.12, 0.2, 0.83, 0.93):
        scene.pine(x, rng.uniform(0.86, 0.94), rng.uniform(0.14, 0.2), mix(green, INK, 0.35))
    if scene.named("knight", "sword", "castle", "king") in ("knight", "sword"):
        _knight(scene.pen(rng.choice((0.26, 0.74)), 0.82, 0.15), roof, flag)


def _tower(pen: Pen, x: float, half: float, top: float, stone: Colour) -> None:
    pen.rect(x - half, top, x + half, 0.05, stone)
    pen.rect(x + half * 0.35, top, x + half, 0.05, mix(stone, INK, 0.2))
    pen.rect(x - half - 0.04, top - 0.02, x + half + 0.04, top + 0.07, mix(stone, WHITE, 0.2))
    step = (2 * half + 0.08) / 5
    for n in (0, 2, 4):
        left = x - half - 0.04 + n * step
        pen.rect(left, top - 0.11, left + step, top, mix(stone, WHITE, 0.2))
    pen.pill(x - 0.04, top + 0.2, x + 0.04, top + 0.38, mix(stone, INK, 0.75))


def _castle(pen: Pen, stone: Colour, roof: Colour, flag: Colour) -> None:
    far = mix(stone, INK, 0.12)
    for x, half, top in ((-0.4, 0.15, -0.95), (0.4, 0.15, -1.05), (0, 0.2, -1.2)):
        _tower(pen, x, half, top, far)
        tip = top - 0.55
        pen.line([(x, tip), (x, tip - 0.22)], 0.025, INK)
        pen.poly([(x, tip - 0.22), (x + 0.26, tip - 0.14), (x, tip - 0.06)], flag)
        wide = half + 0.07
        pen.poly([(x, tip), (x + wide, top - 0.08), (x - wide, top - 0.08)], roof)
        pen.poly([(x, tip), (x + wide, top - 0.08), (x + 0.04, top - 0.08)], mix(roof, INK, 0.25))
    pen.rect(-0.8, -0.5, 0.8, 0.05, stone)
    for n in range(9):
        pen.rect(-0.8 + 0.18 * n, -0.6, -0.7 + 0.18 * n, -0.48, stone)
    for x, y in ((-0.5, -0.32), (-0.38, -0.12), (0.42, -0.25), (0.55, -0.1), (-0.25, -0.38)):
        pen.rect(x, y, x + 0.12, y + 0.05, mix(stone, INK, 0.18))
    for x in (-0.86, 0.86):
        _tower(pen, x, 0.18, -0.75, stone)
    pen.rect(-0.2, -0.22, 0.2, 0.08, mix(stone, INK, 0.35))
    pen.ellipse(0, -0.22, 0.2, 0.2, mix(stone, INK, 0.35), (180, 360))
    pen.rect(-0.15, -0.2, 0.15, 0.08, rgb("2B1D17"))
    pen.ellipse(0, -0.2, 0.15, 0.16, rgb("2B1D17"), (180, 360))
    for x in (-0.08, 0, 0.08):
        pen.line([(x, -0.32), (x, 0.06)], 0.018, rgb("8A7B6B"))


def _knight(pen: Pen, tint: Colour, plume: Colour) -> None:
    steel, dark = rgb("C8D0DC"), rgb("7C879B")
    pen.line([(0.8, -1.3), (0.8, 1)], 0.09, rgb("6B4226"))
    pen.poly([(0.68, -1.25), (0.92, -1.25), (0.8, -1.7)], steel)
    for x in (-0.22, 0.22):
        pen.line([(x, 0.4), (x, 0.95)], 0.26, dark)
    pen.poly([(-0.5, -0.45), (0.5, -0.45), (0.42, 0.55), (-0.42, 0.55)], steel)
    pen.line([(0.5, -0.3), (0.8, 0)], 0.2, dark)
    pen.ellipse(0.15, -1.25, 0.42, 0.2, plume)
    pen.ellipse(0, -0.8, 0.36, 0.42, steel)
    pen.rect(-0.3, -0.86, 0.3, -0.74, INK)
    pen.line([(0, -0.7), (0, -0.45)], 0.05, dark)
    shield = [(-0.85, -0.35), (0.15, -0.35), (0.15, 0.2), (-0.35, 0.75), (-0.85, 0.2)]
    pen.poly(shield, WHITE)
    pen.poly([(-0.77, -0.27), (0.07, -0.27), (0.07, 0.17), (-0.35, 0.62), (-0.77, 0.17)], tint)
    pen.line([(-0.35, -0.2), (-0.35, 0.5)], 0.12, plume)
    pen.line([(-0.7, 0), (0, 0)], 0.12, plume)
