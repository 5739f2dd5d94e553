"""The motif of football."""

import math

from drawing.paint import INK, WHITE, Pen, Scene, arc_points, rgb
from drawing.palette import DAY, NIGHT, SUNSET


def football(scene: Scene) -> None:
    """Draw a large ball on a striped pitch, with a goal, a crowd and floodlights."""
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
