"""The motif of sea."""

import math

from drawing.paint import INK, WHITE, Colour, Pen, Scene, mix, rgb
from drawing.palette import CREAM, DAWN, DAY, GOLD, NIGHT, SUNSET


def sea(scene: Scene) -> None:
    """Draw sailing boats on layered waves under a sun or moon."""
    rng = scene.rng
    skies = ((DAY, "1D6FA5", CREAM), (SUNSET, "3B3A86", GOLD), (NIGHT, "163A70", CREAM))
    stops, water, light = rng.choice((*skies, (DAWN, "2C7F94", WHITE)))
    scene.sky(*stops)
    if stops is NIGHT:
        scene.stars(40, 0.5)
    sun = rng.uniform(0.2, 0.8)
    scene.sun(sun, rng.uniform(0.2, 0.42), 0.09, light)
    for _ in range(2):
        scene.cloud(rng.random(), rng.uniform(0.1, 0.3), 0.12, mix(stops[2], WHITE, 0.4))
    deep = rgb(water)
    scene.band(0.56, 1, mix(deep, stops[2], 0.45))
    scene.veil(
        [(sun - 0.04, 0.56), (sun + 0.04, 0.56), (sun + 0.1, 0.8), (sun - 0.1, 0.8)],
        light,
        0.4,
        0.01,
    )
    _boat(scene.pen(rng.uniform(0.1, 0.25), 0.55, 0.07), WHITE, rgb("C8553D"))
    if "light" in scene.words or rng.random() < 0.35:
        _lighthouse(scene.pen(0.86, 0.6, 0.2))
    _wave(scene, 0.62, mix(deep, stops[2], 0.25))
    sails = rng.choice((WHITE, CREAM, rgb("F25F4C"), GOLD))
    hull = rng.choice((rgb("7A2E2A"), rgb("23395B"), rgb("C8553D"), rgb("1F2937")))
    masts = 2 if scene.named("schooner", "ship", "boat") != "boat" else 1
    tilt = rng.uniform(-7, 7)
    pen = scene.pen(rng.uniform(0.42, 0.6), 0.68, 0.27, tilt, rng.random() < 0.5)
    _boat(pen, sails, hull, masts)
    for step in range(4):
        _wave(scene, 0.72 + 0.075 * step, mix(deep, INK, 0.1 + 0.13 * step))


def _wave(scene: Scene, top: float, colour: Colour) -> None:
    shift, crests = scene.rng.random(), scene.rng.choice((4, 5, 6))
    turns = [(n / 80, 2 * math.pi * (crests * n / 80 + shift)) for n in range(81)]
    crest = [(x, top - 0.022 * abs(math.sin(turn / 2)) ** 0.7) for x, turn in turns]
    places = [(x * scene.width, y * scene.height) for x, y in crest]
    scene.draw.polygon([*places, (scene.width, scene.height), (0, scene.height)], fill=colour)
    scene.draw.line(places, fill=mix(colour, WHITE, 0.35), width=max(1, scene.unit // 110))


def _boat(pen: Pen, sails: Colour, hull: Colour, masts: int = 1) -> None:
    shade = mix(sails, INK, 0.16)
    wood = rgb("6B4226")
    for mast in (-0.42, 0.22) if masts == 2 else (0.0,):
        pen.line([(mast, 0.1), (mast, -1.35)], 0.05, wood)
        pen.poly(
            [(mast - 0.05, -1.25), (mast - 0.2, -0.7), (mast - 0.62, -0.1), (mast - 0.05, -0.1)],
            shade,
        )
        pen.poly(
            [(mast + 0.06, -1.3), (mast + 0.42, -0.75), (mast + 0.68, -0.08), (mast + 0.06, -0.14)],
            sails,
        )
        pen.poly([(mast, -1.36), (mast, -1.5), (mast - 0.28, -1.43)], rgb("E63946"))
    pen.poly([(-0.95, 0.02), (1.05, -0.04), (0.72, 0.42), (-0.7, 0.42)], hull)
    pen.line([(-0.86, 0.12), (0.95, 0.08)], 0.05, mix(hull, WHITE, 0.7))


def _lighthouse(pen: Pen) -> None:
    pen.ellipse(0, 0.1, 0.8, 0.35, rgb("4A4E69"))
    for step in range(4):
        wide, top = 0.24 - 0.03 * step, -0.25 - 0.27 * step
        colour = rgb("D62839") if step % 2 == 0 else WHITE
        pen.poly(
            [(-wide, top + 0.27), (wide, top + 0.27), (wide - 0.03, top), (0.03 - wide, top)],
            colour,
        )
    pen.rect(-0.1, -1.25, 0.1, -1.06, rgb("FFE58A"))
    pen.poly([(-0.16, -1.25), (0.16, -1.25), (0, -1.42)], rgb("D62839"))
