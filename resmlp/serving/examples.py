"""Example images of the page, drawn here: small scenes that need no file and no license."""

import io
import math
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 256
SCALE = 3
"""drawn so many times larger, and reduced: smooth edges"""
Color = tuple[int, int, int]
Draw = ImageDraw.ImageDraw


def _canvas(top: Color, bottom: Color) -> Image.Image:
    """A vertical gradient with a little noise, as a sky has."""
    side = SIDE * SCALE
    ramp = np.linspace(0, 1, side)[:, None, None]
    pixels = np.array(top) * (1 - ramp) + np.array(bottom) * ramp + np.zeros((side, side, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def _polygon(draw: Draw, points: str, color: Color) -> None:
    """Points "x,y x,y ..." in units of 1/256 of the side."""
    corners = [tuple(float(n) * SCALE for n in point.split(",")) for point in points.split()]
    draw.polygon([(x, y) for x, y in corners], fill=color)


def _ellipse(draw: Draw, x: float, y: float, across: float, down: float, color: Color) -> None:
    draw.ellipse([SCALE * v for v in (x - across, y - down, x + across, y + down)], fill=color)


def _ship() -> Image.Image:
    """A freighter at sea."""
    image = _canvas((150, 186, 214), (226, 233, 232))
    draw = ImageDraw.Draw(image)
    _polygon(draw, "0,158 256,154 256,256 0,256", (44, 92, 122))
    for i in range(26):
        y = 164 + 3.6 * i
        x = (i * 97) % 256 - 20
        draw.line([SCALE * v for v in (x, y, x + 30 + 2 * i, y)], fill=(70 + i, 122 + i, 150 + i), width=SCALE)
    _polygon(draw, "30,138 226,138 208,176 48,176", (120, 34, 32))
    _polygon(draw, "30,138 226,138 223,146 34,146", (32, 38, 46))
    for i, color in enumerate([(196, 120, 40), (60, 110, 140), (150, 60, 50), (88, 122, 84), (190, 160, 90)]):
        _polygon(draw, f"{60 + 22 * i},114 {80 + 22 * i},114 {80 + 22 * i},138 {60 + 22 * i},138", color)
    _polygon(draw, "176,92 208,92 208,138 176,138", (236, 238, 236))
    for i in range(4):
        _ellipse(draw, 181 + 7.5 * i, 101, 2, 3, (50, 66, 80))
    _polygon(draw, "186,70 198,70 198,92 186,92", (168, 52, 40))
    return image


def _airplane() -> Image.Image:
    """An airliner above clouds."""
    image = _canvas((70, 128, 190), (196, 220, 238))
    soft = Image.new("L", image.size)
    cloud = ImageDraw.Draw(soft)
    for i in range(22):
        x, y = (i * 61) % 280 - 10, 214 + 22 * math.sin(i * 1.7)
        cloud.ellipse([SCALE * v for v in (x - 34, y - 13, x + 34, y + 15)], fill=150)
    image.paste((250, 251, 252), mask=soft.filter(ImageFilter.GaussianBlur(9 * SCALE)))
    draw = ImageDraw.Draw(image)
    _polygon(draw, "112,104 150,102 92,46 78,46", (176, 186, 196))
    _polygon(draw, "26,120 40,104 196,98 226,106 234,114 222,121 190,126 44,128", (240, 242, 244))
    _polygon(draw, "26,122 44,118 228,114 222,121 190,126 44,128", (202, 209, 216))
    _polygon(draw, "28,108 20,66 36,66 60,104", (42, 84, 140))
    _polygon(draw, "104,122 152,119 84,178 66,178", (150, 162, 174))
    _ellipse(draw, 108, 146, 13, 6, (92, 102, 114))
    for i in range(15):
        _ellipse(draw, 62 + 9.5 * i, 111 - 0.28 * i, 2, 2.3, (60, 78, 98))
    return image


def _car() -> Image.Image:
    """A hatchback on a road."""
    image = _canvas((176, 200, 214), (224, 226, 216))
    draw = ImageDraw.Draw(image)
    for i in range(9):
        _ellipse(draw, 32 * i, 134, 30, 20 + 9 * math.sin(2.1 * i), (86, 116 + 4 * i, 74))
    _polygon(draw, "0,140 256,140 256,256 0,256", (112, 114, 116))
    _polygon(draw, "0,226 256,226 256,231 0,231", (214, 212, 200))
    _ellipse(draw, 128, 204, 100, 9, (70, 72, 76))
    _polygon(draw, "26,176 34,146 74,138 104,106 178,106 210,140 230,150 232,192 222,198 34,198 26,190", (186, 40, 36))
    _polygon(draw, "88,138 110,113 140,113 140,138", (58, 78, 92))
    _polygon(draw, "147,113 174,113 197,138 147,138", (58, 78, 92))
    _polygon(draw, "26,178 232,178 232,186 26,186", (150, 28, 28))
    for x in (70, 190):
        _ellipse(draw, x, 196, 22, 22, (34, 35, 38))
        _ellipse(draw, x, 196, 11, 11, (172, 176, 180))
    _ellipse(draw, 33, 160, 5, 7, (250, 236, 190))
    return image


EXAMPLES: dict[str, Callable[[], Image.Image]] = {"ship.png": _ship, "airplane.png": _airplane, "car.png": _car}


@cache
def example(name: str) -> bytes:
    """One of `EXAMPLES` as the bytes of a PNG."""
    image = EXAMPLES[name]()
    file = io.BytesIO()
    small = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    small.save(file, format="png")
    return file.getvalue()
