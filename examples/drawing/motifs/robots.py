"""The motif of robots."""

import math

from drawing.paint import INK, WHITE, Colour, Pen, Scene, arc_points, mix, rgb


def robots(scene: Scene) -> None:
    """Draw a friendly robot before circuit traces, gears and glowing screens."""
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
