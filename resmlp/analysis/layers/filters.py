"""Figure 2: the weights of a token mixer, each row drawn as an image over the grid of patches."""

from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from resmlp.analysis.layers.anatomy import Grid, Layer
from resmlp.analysis.style import BOTH, FAINT, INK, SMALL, WIDTH, diverging, new_figure
from resmlp.nn import ConvMixer, LinearMixer, MlpMixer, SentenceMixer, TriangularMixer

CENTRAL = 6  # rows and columns of central patches, as in the paper's figure
STRONGEST = CENTRAL**2  # hidden units of a token MLP
KERNELS = 64  # most kernels of a convolution
COLUMNS = 2  # layers side by side


class Filters(NamedTuple):
    """Weights of a token mixer as K images h x w."""

    images: np.ndarray
    """float32 K h w"""
    numbers: Sequence[int]
    """index of each: of its token, hidden unit, or channel"""
    columns: int
    """images in a row of the figure"""
    item: str
    """what an image belongs to: patch, position, hidden unit, channel, kernel, matrix"""
    caption: str
    """a noun phrase for the caption"""

    @property
    def has_tokens(self) -> bool:
        """Whether each image belongs to one token of the grid, which can be marked in it."""
        return self.item in ("patch", "position")


def central_patches(grid: Grid, side: int = CENTRAL) -> list[int]:
    """Indices of the `side` x `side` patches at the center of the grid, row by row; fewer if the grid is smaller."""
    height, width = grid
    down, across = (range((n - min(n, side)) // 2, (n - min(n, side)) // 2 + min(n, side)) for n in grid)
    return [row * width + column for row in down for column in across]


@singledispatch
def filters_of(mixer: nn.Module, grid: Grid) -> Filters | None:
    """The filters that Figure 2 shows; None for attention and without token mixing."""
    return None


@filters_of.register
def _(mixer: LinearMixer, grid: Grid) -> Filters | None:
    numbers = central_patches(grid)
    columns = min(grid[1], CENTRAL)
    caption = f"rows of A for the {len(numbers) // columns} x {columns} central patches; a square marks the patch"
    return rows(mixer.weight, grid, numbers)._replace(columns=columns, caption=caption)


@filters_of.register(SentenceMixer)
@filters_of.register(TriangularMixer)
def _(mixer: LinearMixer, grid: Grid) -> Filters | None:
    matrix = used_matrix(mixer, grid)[None]
    caption = f"A over the {grid[1]} positions used in training; row: output position, column: input position"
    return Filters(matrix, [0], 1, "matrix", caption)


@filters_of.register
def _(mixer: MlpMixer, grid: Grid) -> Filters | None:
    norms = mixer.fc1.weight.detach().float().norm(dim=1)
    numbers = norms.argsort(descending=True, stable=True)[:STRONGEST].tolist()
    caption = f"rows of the first matrix of the token MLP: the {len(numbers)} hidden units of largest norm, in order"
    return rows(mixer.fc1.weight, grid, numbers)._replace(item="hidden unit", caption=caption)


@filters_of.register
def _(mixer: ConvMixer, grid: Grid) -> Filters | None:
    kernels = mixer.conv.weight.detach().float()  # D 1 3 3, or D D 3 3
    channels, inputs = kernels.shape[:2]
    flat = _array(kernels.flatten(0, 1))
    if inputs == 1:
        numbers = np.linspace(0, channels - 1, min(channels, KERNELS)).round().astype(int).tolist()
        return Filters(flat[numbers], numbers, 8, "channel", f"kernels of {len(numbers)} of the {channels} channels")
    norms = np.linalg.norm(flat, axis=(1, 2))
    numbers = np.argsort(-norms, kind="stable")[:KERNELS].tolist()
    caption = f"the {len(numbers)} kernels of largest norm of {channels} x {inputs}; number: output * {inputs} + input"
    return Filters(flat[numbers], numbers, 8, "kernel", caption)


def rows(matrix: Tensor, grid: Grid, numbers: Sequence[int]) -> Filters:
    """The rows `numbers` of a matrix M x N as images h x w, as the filters of patches."""
    return Filters(_array(matrix)[numbers].reshape(-1, *grid), numbers, CENTRAL, "patch", "")


def used_matrix(mixer: LinearMixer, grid: Grid) -> np.ndarray:
    """A for a sentence of N tokens, float32 N x N; a triangular mixer has zeros above the diagonal."""
    matrix = _array(mixer.weight)[: grid[1], : grid[1]]
    return np.tril(matrix) if isinstance(mixer, TriangularMixer) else matrix


def _array(weight: Tensor) -> np.ndarray:
    return weight.detach().float().cpu().numpy()


def mosaic(filters: Filters) -> tuple[np.ndarray, np.ndarray]:
    """All images in one, with NaN between them, and the (row, column) of the corner of each: K 2."""
    count, height, width = filters.images.shape
    down = -(-count // filters.columns)
    canvas = np.full((down * (height + 1) - 1, filters.columns * (width + 1) - 1), np.nan, np.float32)
    corners = np.array([(i // filters.columns * (height + 1), i % filters.columns * (width + 1)) for i in range(count)])
    for (row, column), image in zip(corners, filters.images):
        canvas[row : row + height, column : column + width] = image
    return canvas, corners


def draw_filters(layers: Sequence[Layer], path: Path) -> bool:
    """Draw the filters of each layer to `path` (PNG and SVG, Figure 2); False if no layer has filters.

    Positive weights are blue, negative ones orange; the color scale of each layer ends at its largest magnitude. A gray
    frame separates each image from the white gaps.
    """
    pairs = [(layer, filters) for layer in layers if (filters := filters_of(layer.mixer, layer.grid))]
    if not pairs:
        return False
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    canvases = [mosaic(filters) for _, filters in pairs]
    down = -(-len(pairs) // COLUMNS)
    ratio = max(canvas.shape[0] / canvas.shape[1] for canvas, _ in canvases)
    with new_figure(path, down * (WIDTH / COLUMNS * 0.94 * ratio + 0.4) + 0.3, BOTH) as figure:
        cells = figure.subplots(down, COLUMNS, squeeze=False).ravel()
        for axes in cells:
            axes.axis("off")
        for axes, (layer, filters), (canvas, corners) in zip(cells, pairs, canvases):
            most = float(np.abs(filters.images).max()) or 1.0
            axes.imshow(canvas, cmap=diverging(), vmin=-most, vmax=most, interpolation="nearest")
            axes.set_title(f"{layer.name}, to ±{most:.3g}", size=SMALL, pad=4)
            height, width = filters.images.shape[1:]
            frames = [Rectangle((x - 0.5, y - 0.5), width, height) for y, x in corners]
            axes.add_collection(
                PatchCollection(frames, facecolor="none", edgecolor=FAINT, linewidth=0.6, clip_on=False)
            )
            if filters.has_tokens:
                tokens = np.array([divmod(number, layer.grid[1]) for number in filters.numbers])
                y, x = (corners + tokens).T
                size = (0.9 * 72 * WIDTH / COLUMNS / canvas.shape[1]) ** 2
                axes.scatter(x, y, s=size, marker="s", facecolors="none", edgecolors=INK, linewidths=0.6)
        figure.supxlabel(pairs[0][1].caption, color=FAINT, size=SMALL, x=0.01, ha="left")
    return True
