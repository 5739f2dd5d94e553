"""Motifs of open country: sea, space, mountains, garden, winter, desert and forest."""

import math

from drawing.paint import INK, WHITE, Colour, Pen, Scene, arc_points, mix, rgb

DAY = (rgb("4FA8DD"), rgb("A9DBF2"), rgb("F4F6E6"))
SUNSET = (rgb("4B2E7F"), rgb("D9567A"), rgb("FFB65C"))
DAWN = (rgb("7B8FD6"), rgb("F3B9C6"), rgb("FFE6B8"))
NIGHT = (rgb("0C1440"), rgb("20317A"), rgb("4C62B0"))
CREAM = rgb("FFF3D6")
GOLD = rgb("FFD166")


def sea(scene: Scene) -> None:
    """Sailing boats on layered waves under a sun or moon."""
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


def space(scene: Scene) -> None:
    """A rocket among stars, planets and moons."""
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


def mountains(scene: Scene) -> None:
    """Snow peaks behind dark foothills, with a roped climber or a tent."""
    rng = scene.rng
    stops, rock = rng.choice(
        (
            (DAY, "56719C"),
            (SUNSET, "5A3A78"),
            (DAWN, "6C6FA8"),
            ((rgb("1B4E6B"), rgb("62A8A6"), rgb("F5E2B8")), "3F6478"),
        )
    )
    scene.sky(*stops)
    scene.sun(rng.uniform(0.15, 0.85), rng.uniform(0.15, 0.28), 0.08, CREAM)
    body = rgb(rock)
    scene.crags(0.6, 0.25, mix(body, stops[2], 0.6), 6)
    main = rng.uniform(0.4, 0.6)
    side = -1 if rng.random() < 0.5 else 1
    _peak(scene.pen(main + 0.3 * side, 0.95, 0.7), mix(body, stops[2], 0.28), 0.75)
    _peak(scene.pen(main - 0.38 * side, 0.95, 0.6), mix(body, stops[2], 0.18), 0.7)
    _peak(scene.pen(main, 1, 0.85), body, 1 if scene.width == scene.height else 1.15)
    scene.cloud(rng.uniform(0.1, 0.9), 0.55, 0.14, mix(stops[2], WHITE, 0.6))
    green = mix(rng.choice((rgb("2F5D50"), rgb("3B4A6B"), rgb("3F6B3A"))), body, 0.2)
    scene.hills(0.8, 0.035, mix(green, WHITE, 0.12))
    for _ in range(9):
        scene.pine(rng.random(), rng.uniform(0.8, 0.88), rng.uniform(0.1, 0.16), green)
    scene.hills(0.9, 0.025, mix(green, INK, 0.4))
    if rng.random() < 0.6:
        _climber(scene.pen(rng.uniform(0.3, 0.7), 0.84, 0.1, 0, side > 0))
    else:
        _tent(scene.pen(rng.uniform(0.3, 0.7), 0.9, 0.11), rng.choice((rgb("F77F00"), GOLD)))


def _peak(pen: Pen, rock: Colour, tall: float) -> None:
    pen.poly([(0, -tall), (0.62, 0), (-0.62, 0)], rock)
    pen.poly(
        [(0, -tall), (0.62, 0), (0.1, 0), (0.05, -0.4 * tall), (-0.05, -0.6 * tall)],
        mix(rock, INK, 0.28),
    )
    snow = [
        (0, -tall),
        (0.2, -0.68 * tall),
        (0.12, -0.72 * tall),
        (0.08, -0.56 * tall),
        (0, -0.68 * tall),
        (-0.07, -0.52 * tall),
        (-0.13, -0.66 * tall),
        (-0.23, -0.62 * tall),
    ]
    pen.poly(snow, WHITE)
    pen.poly([*snow[:4], (0, -0.68 * tall), (-0.02, -0.8 * tall)], rgb("CBD8EC"))


def _climber(pen: Pen) -> None:
    coat, dark = rgb("E63946"), INK
    pen.line([(-0.15, 0.1), (-0.3, 0.85)], 0.2, dark)
    pen.line([(0.05, 0.1), (0.3, 0.4), (0.25, 0.8)], 0.2, dark)
    pen.line([(-0.1, 0.1), (0, -0.5)], 0.4, coat)
    pen.pill(-0.55, -0.6, -0.2, 0.15, GOLD)
    pen.line([(0.05, -0.45), (0.45, -0.25)], 0.15, coat)
    pen.line([(0.5, -0.7), (0.45, 0.75)], 0.06, dark)
    pen.disc(0.05, -0.9, 0.22, rgb("F2C79B"))
    pen.ellipse(0.05, -0.95, 0.26, 0.24, rgb("3A86FF"), (180, 360))


def _tent(pen: Pen, colour: Colour) -> None:
    pen.poly([(0, -0.9), (1.1, 0.1), (-0.9, 0.1)], mix(colour, INK, 0.15))
    pen.poly([(0, -0.9), (0.4, 0.1), (-0.9, 0.1)], colour)
    pen.poly([(-0.1, -0.5), (0.12, 0.1), (-0.4, 0.1)], mix(colour, INK, 0.6))
    pen.line([(0, -0.9), (0, -1.35)], 0.06, INK)
    pen.poly([(0, -1.35), (0.45, -1.2), (0, -1.05)], rgb("E63946"))


def garden(scene: Scene) -> None:
    """Rows of tulips, sunflowers or daisies before a fence and green hills."""
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


def winter(scene: Scene) -> None:
    """A snowed-in cabin among white pines under falling snowflakes."""
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


def desert(scene: Scene) -> None:
    """A camel caravan crossing dunes below a great sun or crescent moon."""
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


def forest(scene: Scene) -> None:
    """A fox, bear or owl among misty pines."""
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
