"""The motif of noir."""

from drawing.paint import INK, WHITE, Colour, Pen, Scene, mix, rgb


def noir(scene: Scene) -> None:
    """Draw a figure in hat and coat under a street lamp, before a lit skyline."""
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
