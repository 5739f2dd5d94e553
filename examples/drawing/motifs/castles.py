"""The motif of castles."""

from drawing.paint import INK, WHITE, Colour, Pen, Scene, mix, rgb
from drawing.palette import CREAM, DAWN, DAY, NIGHT, SUNSET


def castles(scene: Scene) -> None:
    """Draw a castle with flags and a gate on a hill, sometimes with a knight's shield."""
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
