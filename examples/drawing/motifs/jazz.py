"""The motif of jazz."""

from drawing.paint import INK, WHITE, Pen, Scene, mix, rgb
from drawing.palette import BRASS, GOLD


def jazz(scene: Scene) -> None:
    """Draw a spotlit club stage with piano keys, and a trumpet, grand piano or saxophone."""
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
