"""Figures of a classifier: curves, confusion matrix, images with their predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resmlp.analysis.curves import curves
from resmlp.analysis.fonts import class_labels
from resmlp.analysis.style import BLUE, DPI, FAINT, GREEN, INK, ORANGE, SMALL, WIDTH, new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["confusion", "curves", "predictions"]

NAMED, COUNTED = 30, 15  # most classes with their names, and with their counts, in the figure
PAIRS = 12  # confused pairs in the list
BLOCKS = 250  # most rows of cells
GRID = 24  # images in the grid


def confusion(matrix: Any, classes: Sequence[str], path: Path) -> None:
    """Draw the confusion matrix, counts K K (row: true class, column: predicted class), to `path` (PNG).

    Each row shows the shares of its class: correct predictions are blue, wrong ones orange. Up to 30 classes are named,
    and up to 15 have their counts in the cells. For more than 30 classes, a list below has the most confused pairs.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    k = len(counts)
    own_names = [classes[i] if i < len(classes) else str(i) for i in range(k)]
    names = class_labels(own_names)
    totals = counts.sum(1)
    shares = counts / np.maximum(totals, 1)[:, None]
    side = min(2.2 + 0.42 * k, 6.6)
    with new_figure(path, side if k <= NAMED else side + 3.2) as figure:
        axes = figure.subplots() if k <= NAMED else figure.subplots(2, height_ratios=[side, 3.0])[0]
        axes.imshow(_colors(_blocks(shares)), interpolation="nearest", extent=(-0.5, k - 0.5, k - 0.5, -0.5))
        correct, images = int(counts.trace()), int(counts.sum())
        axes.set_title(f"{correct:,} of {images:,} correct: {correct / max(images, 1):.3f}", pad=24)
        note = "share of the row; blue: correct, orange: wrong"
        note += f"; maximum of each {-(-k // BLOCKS)} x {-(-k // BLOCKS)} cells" if k > BLOCKS else ""
        note += "; numbers: see model.json" if names != own_names else ""
        axes.annotate(
            note, (0, 1), (0, 8), textcoords="offset points", xycoords="axes fraction", color=FAINT, size=SMALL
        )
        axes.grid(False)
        axes.spines[:].set(visible=True, color=FAINT, linewidth=0.6)
        axes.set(xlabel="predicted class", ylabel="true class")
        if k <= NAMED:
            _name_classes(axes, names, shares.diagonal(), totals)
        else:
            _list_pairs(figure.axes[1], counts, names)
        if k <= COUNTED:
            figure.draw_without_rendering()  # the cells have their size after the first layout
            cell = axes.get_window_extent().width / k * 72 / DPI
            size = min(SMALL, cell / (0.62 * (len(f"{counts.max():,}") + 0.5)))
            for (row, column), count in np.ndenumerate(counts):
                if count:
                    color = "white" if shares[row, column] > 0.45 else INK
                    axes.text(column, row, f"{count:,}", ha="center", va="center", color=color, size=size)


def _blocks(shares: np.ndarray) -> np.ndarray:
    """Reduce shares K K to at most 250 x 250 by the maximum of each block, which keeps a single error visible."""
    k, side = len(shares), -(-len(shares) // BLOCKS)
    blocks = -(-k // side)
    padded = np.pad(shares, (0, blocks * side - k))
    return padded.reshape(blocks, side, blocks, side).max((1, 3))


def _colors(shares: np.ndarray) -> np.ndarray:
    """Shares K K -> colors K K 3 uint8: white to blue on the diagonal, white to orange elsewhere."""
    from matplotlib.colors import to_rgb

    full = np.empty((*shares.shape, 3), np.float32)
    full[:] = to_rgb(ORANGE)
    full[np.eye(len(shares), dtype=bool)] = to_rgb(BLUE)
    strength = np.sqrt(shares, dtype=np.float32)[..., None]  # the square root makes rare errors visible
    return np.round(255 * (1 - strength * (1 - full))).astype(np.uint8)


def _name_classes(axes: "Axes", names: Sequence[str], accuracy: np.ndarray, totals: np.ndarray) -> None:
    """Write the names on both axes, and the accuracy of each class on the right."""
    short = [shorten(name, 20) for name in names]
    ticks = range(len(short))
    axes.set_yticks(ticks, short)
    axes.set_xticks(ticks, short)
    if max(map(len, short), default=0) > 3:
        axes.set_xticks(ticks, short, rotation=45, ha="right", rotation_mode="anchor")
    size = SMALL if len(short) <= 20 else 7.0
    axes.tick_params(labelcolor=INK, labelsize=size)
    for row, (share, total) in enumerate(zip(accuracy, totals)):
        text = f"{share:.3f}" if total else "no image"
        axes.annotate(
            text, (1, row), (7, 0), ("axes fraction", "data"), "offset points", size=size, color=FAINT, va="center"
        )


def _list_pairs(axes: "Axes", counts: np.ndarray, names: Sequence[str]) -> None:
    """List the most frequent errors."""
    axes.axis("off")
    axes.set_title("Most confused pairs: true class → predicted class")
    k, totals = len(counts), counts.sum(1)
    wrong = np.where(np.eye(k, dtype=bool), 0, counts).ravel()
    worst = [cell for cell in np.argsort(-wrong, kind="stable")[:PAIRS] if wrong[cell]]
    for line, cell in enumerate(worst):
        true, predicted = divmod(int(cell), k)
        height = 1 - (line + 0.5) / PAIRS
        axes.text(0.0, height, f"{counts[true, predicted]:,} of {totals[true]:,}", va="center", color=FAINT)
        axes.text(0.17, height, f"{shorten(names[true], 30)}  →  {shorten(names[predicted], 30)}", va="center")
    if not worst:
        axes.text(0.0, 1 - 0.5 / PAIRS, "no errors", va="center", color=FAINT)


def predictions(
    images: Any, targets: Sequence[str], predicted: Sequence[str], probabilities: Sequence[float], path: Path
) -> None:
    """Draw up to 24 images (uint8 B 3 H W, or a list of PIL images) with their predictions to `path` (PNG).

    The predicted class is above each image. Its probability is below, with the true class if the prediction is wrong.
    """
    count = min(len(images), GRID)
    columns = 4 if count <= 8 else 6
    rows = max(-(-count // columns), 1)
    with new_figure(path, rows * (WIDTH / columns + 0.36) + 0.1) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid:
            axes.axis("off")
        for axes, image, target, label, probability in zip(grid, images, targets, predicted, probabilities):
            _show(axes, image, target, label, float(probability), letters=12 if columns == 6 else 20)


def _show(axes: "Axes", image: Any, target: str, predicted: str, probability: float, letters: int) -> None:
    """Draw one image of the grid; its frame and mark say whether the prediction is correct."""
    if hasattr(image, "convert"):  # PIL
        image = image.convert("RGB")
        image.thumbnail((512, 512))
        pixels = np.asarray(image)
    else:
        pixels = np.asarray(image).transpose(1, 2, 0)  # H W 3
    correct = target == predicted
    color, mark = (GREEN, "✓") if correct else (ORANGE, "✗")
    axes.imshow(pixels, interpolation="nearest" if min(pixels.shape[:2]) <= 64 else "antialiased")
    axes.axis("on")
    axes.set(xticks=[], yticks=[], anchor="NW")
    axes.spines[:].set(visible=True, color=color, linewidth=1.2 if correct else 2.8)
    axes.set_title(f"{mark} {shorten(predicted, letters)}", color=color, size=8.5, pad=5)
    below = f"{probability:.2f}" if correct else f"{probability:.2f}, is {shorten(target, letters - 5)}"
    axes.set_xlabel(below, color=INK, size=8.5, loc="left")
