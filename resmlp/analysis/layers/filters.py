"""Figure 2: what a token mixer's weights look like, each row of them drawn as an image over the grid of patches."""

from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from resmlp.analysis.layers.anatomy import Grid, Layer
from resmlp.analysis.style import BOTH, FAINT, INK, SMALL, WIDTH, diverging, sheet
from resmlp.nn import ConvMixer, LinearMixer, MlpMixer, SentenceMixer, TriangularMixer

CENTRAL = 6  # patches down and across, as in the paper's figure
STRONGEST = CENTRAL**2  # hidden units
KERNELS = 64  # of a convolution
COLUMNS = 2  # layers side by side


class Filters(NamedTuple):
    """Weights of a mixer as K images of h x w."""

    images: np.ndarray
    """float32 K h w"""
    numbers: Sequence[int]
    """of each: its token, hidden unit, channel"""
    columns: int
    """images in a row"""
    item: str
    """what each is of: patch, position, hidden unit, channel, kernel"""
    what: str
    """in words, for a caption"""

    @property
    def is_own(self) -> bool:
        """Whether each is of a token of the grid, which can be marked in it."""
        return self.item in ("patch", "position")


def central_patches(grid: Grid, side: int = CENTRAL) -> list[int]:
    """The numbers of the side x side patches in the middle of the grid, row by row; all across where it is smaller."""
    height, width = grid
    down, across = (range((n - min(n, side)) // 2, (n - min(n, side)) // 2 + min(n, side)) for n in grid)
    return [row * width + column for row in down for column in across]


@singledispatch
def shown(mixer: nn.Module, grid: Grid) -> Filters | None:
    """What Figure 2 shows of a mixer; None for one that has no weights over places: attention, or none."""
    return None


@shown.register
def _(mixer: LinearMixer, grid: Grid) -> Filters | None:
    numbers = central_patches(grid)
    columns = min(grid[1], CENTRAL)
    what = f"rows of A of the {len(numbers) // columns} x {columns} central patches; a square marks the own"
    return rows(mixer.weight, grid, numbers)._replace(columns=columns, what=what)


@shown.register(SentenceMixer)
@shown.register(TriangularMixer)
def _(mixer: LinearMixer, grid: Grid) -> Filters | None:
    matrix = used(mixer, grid)[None]
    what = f"A over the {grid[1]} positions that training has reached; row: the position written, column: read"
    return Filters(matrix, [0], 1, "matrix", what)


@shown.register
def _(mixer: MlpMixer, grid: Grid) -> Filters | None:
    norms = mixer.fc1.weight.detach().float().norm(dim=1)
    numbers = norms.argsort(descending=True, stable=True)[:STRONGEST].tolist()
    what = f"rows of the first matrix of the token MLP: the {len(numbers)} hidden units of largest norm, that one first"
    return rows(mixer.fc1.weight, grid, numbers)._replace(item="hidden unit", what=what)


@shown.register
def _(mixer: ConvMixer, grid: Grid) -> Filters | None:
    kernels = mixer.conv.weight.detach().float()  # D 1 3 3, or D D 3 3
    channels, inputs = kernels.shape[:2]
    flat = _array(kernels.flatten(0, 1))
    if inputs == 1:
        numbers = np.linspace(0, channels - 1, min(channels, KERNELS)).round().astype(int).tolist()
        return Filters(flat[numbers], numbers, 8, "channel", f"kernels of {len(numbers)} of the {channels} channels")
    norms = np.linalg.norm(flat, axis=(1, 2))
    numbers = np.argsort(-norms, kind="stable")[:KERNELS].tolist()
    what = (
        f"the {len(numbers)} kernels of largest norm of the {channels} x {inputs}, numbered output * {inputs} + input"
    )
    return Filters(flat[numbers], numbers, 8, "kernel", what)


def rows(matrix: Tensor, grid: Grid, numbers: Sequence[int]) -> Filters:
    """Some rows of a matrix M x N as images h x w, called after patches."""
    return Filters(_array(matrix)[numbers].reshape(-1, *grid), numbers, CENTRAL, "patch", "")


def used(mixer: LinearMixer, grid: Grid) -> np.ndarray:
    """A as it acts on sentences of N tokens, N x N: what looks ahead in a triangular one is zero."""
    matrix = _array(mixer.weight)[: grid[1], : grid[1]]
    return np.tril(matrix) if isinstance(mixer, TriangularMixer) else matrix


def _array(weight: Tensor) -> np.ndarray:
    return weight.detach().float().cpu().numpy()


def mosaic(filters: Filters) -> tuple[np.ndarray, np.ndarray]:
    """The images side by side as one, NaN between them, and where each begins: K 2."""
    count, height, width = filters.images.shape
    down = -(-count // filters.columns)
    canvas = np.full((down * (height + 1) - 1, filters.columns * (width + 1) - 1), np.nan, np.float32)
    corners = np.array([(i // filters.columns * (height + 1), i % filters.columns * (width + 1)) for i in range(count)])
    for (row, column), image in zip(corners, filters.images):
        canvas[row : row + height, column : column + width] = image
    return canvas, corners


def draw_filters(layers: Sequence[Layer], path: Path) -> bool:
    """Draw what Figure 2 shows of each layer to `path`, PNG and SVG; False where they have nothing to show.

    Blue is above zero, orange below; each layer has its own scale, to its largest magnitude that is shown. Each image
    has a gray frame, and the gaps between them are no weights.
    """
    found = [(layer, filters) for layer in layers if (filters := shown(layer.mixer, layer.grid))]
    if not found:
        return False
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    canvases = [mosaic(filters) for _, filters in found]
    down = -(-len(found) // COLUMNS)
    ratio = max(canvas.shape[0] / canvas.shape[1] for canvas, _ in canvases)
    with sheet(path, down * (WIDTH / COLUMNS * 0.94 * ratio + 0.4) + 0.3, BOTH) as figure:
        places = figure.subplots(down, COLUMNS, squeeze=False).ravel()
        for axes in places:
            axes.axis("off")
        for axes, (layer, filters), (canvas, corners) in zip(places, found, canvases):
            most = float(np.abs(filters.images).max()) or 1.0
            axes.imshow(canvas, cmap=diverging(), vmin=-most, vmax=most, interpolation="nearest")
            axes.set_title(f"{layer.name}, to ±{most:.3g}", size=SMALL, pad=4)
            height, width = filters.images.shape[1:]
            frames = [Rectangle((x - 0.5, y - 0.5), width, height) for y, x in corners]
            axes.add_collection(
                PatchCollection(frames, facecolor="none", edgecolor=FAINT, linewidth=0.6, clip_on=False)
            )
            if filters.is_own:
                own = np.array([divmod(number, layer.grid[1]) for number in filters.numbers])
                y, x = (corners + own).T
                size = (0.9 * 72 * WIDTH / COLUMNS / canvas.shape[1]) ** 2
                axes.scatter(x, y, s=size, marker="s", facecolors="none", edgecolors=INK, linewidths=0.6)
        figure.supxlabel(found[0][1].what, color=FAINT, size=SMALL, x=0.01, ha="left")
    return True
