"""The size of the images that a network is run at: what `--img-size` and `img_size` take."""

import math
from collections.abc import Sequence
from typing import Literal

from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

Size = tuple[int, int]
"""height, width in pixels"""
Native = Literal["native"]
ImageSize = str | int | Sequence[int]
"""288 or "288", (320, 224) or "320x224"; "native" where a function takes it"""
NATIVE: Native = "native"
LARGEST = 2**15
ASPECTS, MOST_LONG = 15, 4.0
"""shapes of native images, and the largest ratio of their sides: neighbors differ by 22 %"""


def run_size(given: ImageSize | None) -> Size | Native | None:
    """The size of the images of a network that is run; also native. Raises `UserError`."""
    return NATIVE if given == NATIVE else image_size(given)


def image_size(given: ImageSize | None) -> Size | None:
    """(height, width); None stays None. Raises `UserError`."""
    if given is None:
        return None
    native = f"--img-size {NATIVE} is for eval, predict and embed"
    demand(given != NATIVE, native, "give pixels: 288, or height x width, 320x224")
    if isinstance(given, str):
        sides: list[object] = [int(side) if side.isdecimal() and side.isascii() else side for side in given.split("x")]
    else:
        sides = list(given) if isinstance(given, Sequence) else [given]
    fits = all(type(side) is int and 0 < side <= LARGEST for side in sides)
    if not fits or len(sides) not in (1, 2):
        raise UserError(f"--img-size {given}", f"give pixels up to {LARGEST:,}: 288, or height x width, 320x224")
    return int(str(sides[0])), int(str(sides[-1]))


def image_sizes(given: ImageSize | Sequence[ImageSize] | None) -> tuple[Size, ...]:
    """Several sizes, each once; two numbers are a height and a width. Raises `UserError`."""
    if given is None or isinstance(given, str | int) or all(type(side) is int for side in given):
        size = image_size(given)  # type: ignore[arg-type]
        return () if size is None else (size,)
    return tuple(dict.fromkeys(size for size in map(image_size, given) if size))


def shown(size: Sequence[int] | str) -> str:
    """height x width, as people write it"""
    return size if isinstance(size, str) else "x".join(map(str, size))


def native_shapes(grid: Size, patch: int) -> tuple[Size, ...]:
    """The sizes in pixels of native images: about as many tokens as `grid` (rows, columns), aspects from 1:4 to 4:1.

    At most 16, the trained one first, so that few matrices are moved.
    """
    tokens, middle = math.prod(grid), ASPECTS // 2
    shapes = [grid]
    for step in range(1 - ASPECTS + middle, ASPECTS - middle):
        shorter = max(1, round(math.sqrt(tokens / MOST_LONG ** (abs(step) / middle))))
        longer = max(1, round(tokens / shorter))
        shapes.append((shorter, longer) if step > 0 else (longer, shorter))
    return tuple((rows * patch, columns * patch) for rows, columns in dict.fromkeys(shapes))


def nearest_shape(size: Size, shapes: Sequence[Size]) -> Size:
    """Of the shapes (height, width) the one with the aspect ratio of `size`, as near as there is."""
    wanted = math.log(size[0] / size[1])
    return min(shapes, key=lambda shape: abs(math.log(shape[0] / shape[1]) - wanted))
