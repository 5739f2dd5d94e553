"""The motif of mountains."""

from drawing.paint import INK, WHITE, Colour, Pen, Scene, mix, rgb
from drawing.palette import CREAM, DAWN, DAY, GOLD, SUNSET


def mountains(scene: Scene) -> None:
    """Draw snow peaks behind dark foothills, with a roped climber or a tent."""
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
