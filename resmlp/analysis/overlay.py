"""Segmentations as colors: overlays with a legend, label images, and a figure of predictions and ground truth."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from resmlp.analysis.fonts import class_labels, font_file
from resmlp.analysis.style import INK, SMALL, WIDTH, new_figure, shorten
from resmlp.config.model_json import SegmenterModelConfig
from resmlp.data.masks.classnames import palette
from resmlp.inference.segmentation import Example

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Color = tuple[int, int, int]
Palette = Sequence[Color]

OPACITY = 0.55  # of the colors over the image
UNLABELED = 255  # palette index of a pixel without a class
BLANK: Color = (255, 255, 255)
"""color of a pixel without a class"""
SHOWN = 5  # most images in a figure
LISTED = 24  # most classes in its legend
LARGEST = 512  # most pixels of a side in a figure
NARROWEST = 192  # pixels of an image with a legend
FLATTEST, TALLEST = 0.25, 2.0  # height over width of a cell; other images have white margins


def colors(config: SegmenterModelConfig) -> Palette:
    """The color of each class: the palette of the data set, or a generated one."""
    return config.palette or palette(len(config.classes))


def colorize(labels: np.ndarray, shades: Palette) -> np.ndarray:
    """Class indices H W -> colors uint8 H W 3; any other index is white."""
    table = np.array([*shades, BLANK], np.uint8)
    known = (labels >= 0) & (labels < len(shades))
    return table[np.where(known, labels, len(shades))]


def overlay(image: Image.Image, labels: np.ndarray, shades: Palette) -> Image.Image:
    """Blend the colors of class indices H W over an image."""
    return Image.blend(image.convert("RGB"), Image.fromarray(colorize(labels, shades)), OPACITY)


def label_image(labels: np.ndarray, shades: Palette) -> Image.Image:
    """Class indices H W as an image of mode P: each pixel holds its class, or 255 without a class."""
    image = Image.fromarray(np.where(labels < 0, UNLABELED, labels).astype(np.uint8), "L")
    table = [*shades, *[BLANK] * (256 - len(shades))]
    image.putpalette([value for color in table for value in color])
    return image


def shares(labels: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Class name -> share of the pixels, for each class that occurs, largest first."""
    counts = np.bincount(labels[labels >= 0].ravel(), minlength=len(classes))
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda label: -counts[label])
    return {classes[label]: int(counts[label]) / labels.size for label in order}


def add_legend(image: Image.Image, entries: Iterable[tuple[str, Color]]) -> Image.Image:
    """Append a legend below the image: a colored square and a name for each entry. A narrow image gets margins."""
    size = max(11, min(image.size) // 40)
    fonts: dict[str, Any] = {}
    width, line, gap = max(image.width, NARROWEST), round(1.6 * size), round(0.6 * size)
    placed, x, y = [], gap, gap
    for name, color in entries:
        name = shorten(name, 40)
        fonts[name] = ImageFont.truetype(font_file(name), size)
        across = line + round(fonts[name].getlength(name)) + 2 * gap
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
        draw.text((x + line, y + size / 2), name, fill=INK, font=fonts[name], anchor="lm")
    return canvas


def draw_segmentations(examples: Sequence[Example], classes: Sequence[str], shades: Palette, path: Path) -> None:
    """Draw up to 5 rows of image, ground truth and prediction to `path` (PNG); nothing without examples.

    The legend below has the 24 most frequent classes of these rows.
    """
    if not examples:
        return
    rows = examples[:SHOWN]
    heights = [WIDTH / 3.4 * _aspect(example.image) for example in rows]
    listed, labels = _occurring(rows, len(classes)), class_labels(classes)
    with new_figure(path, sum(heights) + 0.15 * len(rows) + 0.5 + 0.2 * -(-len(listed) // 4)) as figure:
        from matplotlib.patches import Patch

        grid = figure.subplots(len(rows), 3, squeeze=False, height_ratios=heights)
        for axes, title in zip(grid[0], ("image", "ground truth", "prediction")):
            axes.set_title(title, pad=5)
        for row, example in zip(grid, rows):
            small = example.image.convert("RGB")
            small.thumbnail((LARGEST, LARGEST))
            for axes, pixels in zip(
                row, (small, *(_reduced(part, shades) for part in (example.ground_truth, example.predicted)))
            ):
                _show(axes, np.asarray(pixels))
            row[0].set_ylabel(shorten(Path(example.name).name, 24), size=SMALL)
        handles = [
            Patch(facecolor=_unit(shades[label]), edgecolor=INK, linewidth=0.5, label=shorten(labels[label], 22))
            for label in listed
        ]
        figure.legend(handles=handles, loc="outside lower left", ncols=4, frameon=False, fontsize=SMALL)


def _aspect(image: Image.Image) -> float:
    """Height over width of the cell of an image."""
    return min(max(image.height / image.width, FLATTEST), TALLEST)


def _reduced(labels: np.ndarray, shades: Palette) -> Image.Image:
    """Class indices H W as a colored image of at most 512 x 512, reduced by nearest neighbors."""
    height, width = labels.shape
    factor = max(1.0, max(height, width) / LARGEST)
    rows, columns = (((np.arange(max(1, int(side / factor))) + 0.5) * factor).astype(int) for side in (height, width))
    return Image.fromarray(colorize(labels[rows.clip(max=height - 1)[:, None], columns.clip(max=width - 1)], shades))


def _occurring(rows: Sequence[Example], classes: int) -> list[int]:
    """The 24 most frequent classes in ground truth and predictions, in the order of their indices."""
    counts = np.zeros(classes, np.int64)
    for example in rows:
        for labels in (example.ground_truth, example.predicted):
            counts += np.bincount(labels[(labels >= 0) & (labels < classes)].ravel(), minlength=classes)
    most = np.argsort(-counts, kind="stable")[:LISTED]
    return sorted(most[counts[most] > 0].tolist())


def _unit(color: Color) -> tuple[float, float, float]:
    """A color with its channels in [0, 1], as Matplotlib expects."""
    red, green, blue = (value / 255 for value in color)
    return red, green, blue


def _show(axes: "Axes", pixels: np.ndarray) -> None:
    axes.imshow(pixels, interpolation="nearest")
    axes.grid(False)
    axes.set(xticks=[], yticks=[])
