"""Classes of pixels as colors: over one image, with a legend; and a sheet of images, truths and predictions."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from resmlp.analysis.style import INK, SMALL, WIDTH, sheet, shorten
from resmlp.config.model_config import SegmenterModelConfig
from resmlp.data.masks.classnames import palette
from resmlp.inference.segmenter import Labeled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Color = tuple[int, int, int]
Palette = Sequence[Color]

STRENGTH = 0.55  # of the color, over the image
NOWHERE = 255  # index of a pixel of no class
BLANK: Color = (255, 255, 255)
"""what a pixel of no class is shown in"""
SHOWN = 5  # images of a sheet
LISTED = 24  # classes of its legend
LARGEST = 512  # pixels of a side in a sheet
FEWEST = 192  # pixels across, so that a legend has room
FLATTEST, TALLEST = 0.25, 2.0  # height over width of a row's places; what is beyond lies in them with white around it


def colors(card: SegmenterModelConfig) -> Palette:
    """The color of each class: the card's, or some that are made up."""
    return card.palette or palette(len(card.classes))


def colored(labels: np.ndarray, shades: Palette) -> np.ndarray:
    """Classes H W, what is none of them being blank -> their colors, uint8 H W 3."""
    table = np.array([*shades, BLANK], np.uint8)
    known = (labels >= 0) & (labels < len(shades))
    return table[np.where(known, labels, len(shades))]


def overlay(image: Image.Image, labels: np.ndarray, shades: Palette) -> Image.Image:
    """An RGB image with the colors of its classes H W laid over it."""
    return Image.blend(image.convert("RGB"), Image.fromarray(colored(labels, shades)), STRENGTH)


def indexed(labels: np.ndarray, shades: Palette) -> Image.Image:
    """Classes H W as an image of mode P: each pixel is the number of its class, 255 where it has none."""
    image = Image.fromarray(np.where(labels < 0, NOWHERE, labels).astype(np.uint8), "L")
    table = [*shades, *[BLANK] * (256 - len(shades))]
    image.putpalette([value for color in table for value in color])
    return image


def shares(labels: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Name -> its share of the pixels, of each class that occurs, the largest first."""
    counts = np.bincount(labels[labels >= 0].ravel(), minlength=len(classes))
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda label: -counts[label])
    return {classes[label]: int(counts[label]) / labels.size for label in order}


def with_legend(image: Image.Image, entries: Iterable[tuple[str, Color]]) -> Image.Image:
    """The image as it is, and below it, wider if it is small, a strip with a square of color for each name."""
    size = max(11, min(image.size) // 40)
    font = _font(size)
    width, line, gap = max(image.width, FEWEST), round(1.6 * size), round(0.6 * size)
    placed, x, y = [], gap, gap
    for name, color in entries:
        name = shorten(name, 40)
        across = line + round(font.getlength(name)) + 2 * gap
        if x > gap and x + across > width:
            x, y = gap, y + line
        placed.append((x, y, name, color))
        x += across
    canvas = Image.new("RGB", (width, image.height + y + line + gap), "white")
    canvas.paste(image, (0, 0))
    draw = ImageDraw.Draw(canvas)
    for x, y, name, color in placed:
        y += image.height
        draw.rectangle((x, y, x + size, y + size), fill=color, outline=INK)
        draw.text((x + line, y + size / 2), name, fill=INK, font=font, anchor="lm")
    return canvas


def _font(size: int) -> Any:
    """Matplotlib's own face, which has more letters than Pillow's."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def draw_labeled(found: Sequence[Labeled], classes: Sequence[str], shades: Palette, path: Path) -> None:
    """Draw a row for each of a few images to `path`: itself, its labels, what is said; and a legend below.

    The legend has the classes that occur in these, the most frequent ones where they are many. Without any image
    nothing is drawn.
    """
    if not found:
        return
    rows = found[:SHOWN]
    heights = [WIDTH / 3.4 * _shape(each.image) for each in rows]
    listed = _occurring(rows, len(classes))
    with sheet(path, sum(heights) + 0.15 * len(rows) + 0.5 + 0.2 * -(-len(listed) // 4)) as figure:
        from matplotlib.patches import Patch

        grid = figure.subplots(len(rows), 3, squeeze=False, height_ratios=heights)
        for axes, title in zip(grid[0], ("image", "its labels", "what the network says")):
            axes.set_title(title, pad=5)
        for row, each in zip(grid, rows):
            small = each.image.convert("RGB")
            small.thumbnail((LARGEST, LARGEST))
            for axes, pixels in zip(row, (small, *(_reduced(part, shades) for part in (each.truth, each.said)))):
                _show(axes, np.asarray(pixels))
            row[0].set_ylabel(shorten(Path(each.name).name, 24), size=SMALL)
        handles = [
            Patch(facecolor=_of_one(shades[label]), edgecolor=INK, linewidth=0.5, label=shorten(classes[label], 22))
            for label in listed
        ]
        figure.legend(handles=handles, loc="outside lower left", ncols=4, frameon=False, fontsize=SMALL)


def _shape(image: Image.Image) -> float:
    """Height over width of the place that an image gets."""
    return min(max(image.height / image.width, FLATTEST), TALLEST)


def _reduced(labels: np.ndarray, shades: Palette) -> Image.Image:
    """Classes H W as an image in their colors, none of which is mixed where it is made smaller."""
    height, width = labels.shape
    factor = max(1.0, max(height, width) / LARGEST)
    rows, columns = (((np.arange(max(1, int(side / factor))) + 0.5) * factor).astype(int) for side in (height, width))
    return Image.fromarray(colored(labels[rows.clip(max=height - 1)[:, None], columns.clip(max=width - 1)], shades))


def _occurring(rows: Sequence[Labeled], classes: int) -> list[int]:
    """The classes that occur most in the labels or in what is said, in their order."""
    counts = np.zeros(classes, np.int64)
    for each in rows:
        for labels in (each.truth, each.said):
            counts += np.bincount(labels[(labels >= 0) & (labels < classes)].ravel(), minlength=classes)
    most = np.argsort(-counts, kind="stable")[:LISTED]
    return sorted(most[counts[most] > 0].tolist())


def _of_one(color: Color) -> tuple[float, float, float]:
    """A color in [0, 1], as Matplotlib has them."""
    red, green, blue = (value / 255 for value in color)
    return red, green, blue


def _show(axes: "Axes", pixels: np.ndarray) -> None:
    axes.imshow(pixels, interpolation="nearest")
    axes.grid(False)
    axes.set(xticks=[], yticks=[])
