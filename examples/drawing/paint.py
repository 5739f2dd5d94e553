"""A small canvas for flat illustration: gradients, soft light, hills and a placed pen."""

import math
import random
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Point = tuple[float, float]

WHITE: Colour = (255, 255, 255)
INK: Colour = (28, 30, 44)


def rgb(code: str) -> Colour:
    """Return the colour of six hex digits.

    Parameters
    ----------
    code : str
        The digits, without a leading sign.

    Returns
    -------
    tuple of int
        Red, green and blue, 0 to 255.
    """
    value = int(code, 16)
    return value >> 16, value >> 8 & 255, value & 255


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Blend two colours.

    Parameters
    ----------
    first, second : tuple of int
        The colours to blend.
    share : float
        How much of the second, 0 to 1.

    Returns
    -------
    tuple of int
        The blend.
    """
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def gradient(width: int, height: int, stops: Sequence[Colour]) -> Image.Image:
    """Fill an image from top to bottom through evenly spaced colours.

    Parameters
    ----------
    width, height : int
        Size in pixels.
    stops : sequence of tuple of int
        Two or more colours, top first.

    Returns
    -------
    PIL.Image.Image
        The RGB image.
    """
    rows = np.linspace(0, len(stops) - 1, height)
    channels = np.array(stops, dtype=float).T
    column = np.stack([np.interp(rows, np.arange(len(stops)), c) for c in channels], axis=1)
    pixels = np.repeat(column[:, None, :].round().astype(np.uint8), width, axis=1)
    return Image.fromarray(pixels)


class Pen:
    """Draws in the local units of one placed object: its centre is (0, 0), y points down.

    Parameters
    ----------
    scene : Scene
        The picture drawn on.
    x, y : float
        The centre, in pixels.
    size : float
        Pixels of one local unit.
    angle : float, optional
        Clockwise turn in degrees.
    flip : bool, optional
        Mirror left and right.
    """

    def __init__(
        self, scene: "Scene", x: float, y: float, size: float, angle: float = 0, flip: bool = False
    ) -> None:
        self.scene, self.x, self.y, self.size = scene, x, y, size
        self._cos, self._sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        self._side = -1 if flip else 1

    def at(self, point: Point) -> Point:
        """Place a local point on the picture, in pixels."""
        x, y = point[0] * self._side * self.size, point[1] * self.size
        return self.x + x * self._cos - y * self._sin, self.y + x * self._sin + y * self._cos

    def poly(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill a polygon."""
        self.scene.draw.polygon([self.at(p) for p in points], fill=colour)

    def rect(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fill a rectangle."""
        self.poly([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, colour: Colour, arc: Point = (0, 360)
    ) -> None:
        """Fill an ellipse, or the part of it between two angles in degrees."""
        self.poly(arc_points(x, y, rx, ry, *arc), colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fill a circle."""
        self.ellipse(x, y, radius, radius, colour)

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw a round-capped line through points, its width in local units."""
        places = [self.at(p) for p in points]
        pixels = max(1, round(width * self.size))
        self.scene.draw.line(places, fill=colour, width=pixels, joint="curve")
        if pixels > 2:
            for x, y in places:
                half = pixels / 2
                self.scene.draw.ellipse((x - half, y - half, x + half, y + half), fill=colour)

    def pill(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fill a rectangle with fully rounded short ends."""
        half = min(right - left, bottom - top) / 2
        ends = [(left + half, top + half), (right - half, bottom - half)]
        self.line(ends, 2 * half, colour)


def arc_points(
    x: float, y: float, rx: float, ry: float, start: float = 0, stop: float = 360
) -> list[Point]:
    """Return points along an ellipse's edge.

    Parameters
    ----------
    x, y : float
        Centre.
    rx, ry : float
        Half width and half height.
    start, stop : float, optional
        Angles in degrees, clockwise from the right.

    Returns
    -------
    list of tuple of float
        About one point each eight degrees.
    """
    steps = max(4, round(abs(stop - start) / 8))
    turns = [math.radians(start + (stop - start) * n / steps) for n in range(steps + 1)]
    return [(x + rx * math.cos(t), y + ry * math.sin(t)) for t in turns]


class Scene:
    """A picture that is being drawn.

    Parameters
    ----------
    width, height : int
        Size in pixels.
    rng : random.Random
        Source of every variation, seeded by the caller.
    words : str, optional
        The item's text, which may name a fox or a trumpet.
    """

    def __init__(self, width: int, height: int, rng: random.Random, words: str = "") -> None:
        self.width, self.height, self.rng = width, height, rng
        self.words = words.lower()
        self.unit = min(width, height)
        self.image = Image.new("RGB", (width, height))
        self.draw = ImageDraw.Draw(self.image)

    def named(self, *choices: str) -> str:
        """Return the choice that the item's words name first, or a random one if they name none."""
        mentioned = [(self.words.find(c), c) for c in choices if c in self.words]
        return min(mentioned)[1] if mentioned else self.rng.choice(choices)

    def sky(self, *stops: Colour) -> None:
        """Fill the whole picture with a vertical gradient."""
        self.image.paste(gradient(self.width, self.height, stops))

    def pen(self, x: float, y: float, size: float, angle: float = 0, flip: bool = False) -> Pen:
        """Place a pen: x and y are shares of the picture, size a share of its shorter side."""
        return Pen(self, x * self.width, y * self.height, size * self.unit, angle, flip)

    def band(self, top: float, bottom: float, colour: Colour) -> None:
        """Fill the full width between two shares of the height."""
        box = (0, top * self.height, self.width, bottom * self.height)
        self.draw.rectangle(box, fill=colour)

    def hills(self, base: float, rise: float, colour: Colour, waves: float = 1.5) -> None:
        """Fill smooth rolling ground from a wavy line to the picture's foot."""
        first, second = self.rng.uniform(0, 6.3), self.rng.uniform(0, 6.3)
        tops = []
        for step in range(61):
            turn = 2 * math.pi * waves * step / 60
            lift = 0.65 * math.sin(turn + first) + 0.35 * math.sin(2.3 * turn + second)
            tops.append((step / 60 * self.width, (base - rise * lift) * self.height))
        self._ground(tops, colour)

    def crags(self, base: float, rise: float, colour: Colour, peaks: int) -> None:
        """Fill a jagged ridge from its peaks to the picture's foot."""
        tops = []
        for step in range(2 * peaks + 1):
            lift = self.rng.uniform(0.5, 1.0) if step % 2 else self.rng.uniform(-0.1, 0.25)
            tops.append((step / (2 * peaks) * self.width, (base - rise * lift) * self.height))
        self._ground(tops, colour)

    def _ground(self, tops: list[Point], colour: Colour) -> None:
        corners = [(self.width, self.height), (0, self.height)]
        self.draw.polygon([*tops, *corners], fill=colour)

    def glow(self, x: float, y: float, radius: float, colour: Colour, strength: float) -> None:
        """Blend a round soft light over the picture."""
        rows, columns = np.ogrid[: self.height, : self.width]
        away = np.hypot(columns - x * self.width, rows - y * self.height) / (radius * self.unit)
        alpha = (255 * strength * np.clip(1 - away, 0, 1) ** 1.5).astype(np.uint8)
        self.image.paste(colour, (0, 0), Image.fromarray(alpha))

    def veil(
        self, points: Sequence[Point], colour: Colour, strength: float, blur: float = 0
    ) -> None:
        """Blend a see-through polygon, its points in shares of the picture."""
        mask = Image.new("L", self.image.size)
        places = [(px * self.width, py * self.height) for px, py in points]
        ImageDraw.Draw(mask).polygon(places, fill=round(255 * strength))
        if blur:
            mask = mask.filter(ImageFilter.GaussianBlur(blur * self.unit))
        self.image.paste(colour, (0, 0), mask)

    def stars(self, count: int, floor: float = 1.0, colour: Colour = WHITE) -> None:
        """Scatter small stars above a share of the height."""
        for _ in range(count):
            x, y = self.rng.random(), self.rng.uniform(0, floor)
            self.pen(x, y, 1).disc(0, 0, self.rng.choice((0.004, 0.005, 0.009)), colour)

    def sun(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Draw a sun or moon with its glow."""
        self.glow(x, y, radius * 3, colour, 0.55)
        self.pen(x, y, radius).disc(0, 0, 1, colour)

    def cloud(self, x: float, y: float, size: float, colour: Colour) -> None:
        """Draw a flat-bottomed cloud."""
        pen = self.pen(x, y, size)
        for cx, cy, radius in ((-0.55, 0, 0.3), (-0.1, -0.15, 0.45), (0.45, -0.02, 0.33)):
            pen.disc(cx, cy, radius, colour)
        pen.pill(-0.9, -0.05, 0.85, 0.3, colour)

    def pine(
        self, x: float, foot: float, height: float, colour: Colour, snow: bool = False
    ) -> None:
        """Draw a three-tiered pine standing on a share of the height."""
        pen = self.pen(x, foot, height)
        pen.rect(-0.05, -0.2, 0.05, 0.03, mix(colour, (70, 45, 30), 0.6))
        for top, bottom, half in ((-0.55, -0.1, 0.34), (-0.8, -0.38, 0.26), (-1, -0.64, 0.18)):
            pen.poly([(0, top), (half, bottom), (-half, bottom)], colour)
            pen.poly([(0, top), (half, bottom), (0.02, bottom)], mix(colour, INK, 0.18))
            if snow:
                low = top + (bottom - top) * 0.55
                edge = half * 0.55
                cap = [(0, top), (edge, low), (edge / 3, low - 0.06), (-edge / 3, low + 0.02)]
                pen.poly([*cap, (-edge, low)], WHITE)
