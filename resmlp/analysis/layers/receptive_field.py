"""Weights by distance, and effective receptive fields.

N tokens lie on a grid h x w. Distances are Euclidean, in patches.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from resmlp.analysis.curves import Line, Panel, draw_panels
from resmlp.analysis.layers.anatomy import Grid, Layer
from resmlp.analysis.layers.filters import used_matrix
from resmlp.analysis.style import BLUE, BOTH, FAINT, GREEN, INK, ORANGE, PURPLE, SMALL, WIDTH, new_figure
from resmlp.models import Trunk
from resmlp.nn import LinearMixer, TriangularMixer

COLORS = (BLUE, GREEN, ORANGE, PURPLE, INK)
MOST = 4096
"""tokens; more make too many pairs (N x N) to sort by distance"""
FLOOR = 1e-3  # share of the largest value that is drawn white


class Curve(NamedTuple):
    """The weights of a matrix A by the distance of the two patches, at each distance that occurs."""

    distances: np.ndarray
    weights: np.ndarray
    """mean |A_ij| of the pairs at that distance, over the mean of all pairs (1: no preference)"""
    mean: float
    """mean distance of a pair, weighted by |A_ij|"""


def distance_curve(layer: Layer) -> Curve | None:
    """The weights of A by distance; None if no matrix mixes the tokens, and above 4,096 tokens.

    A triangular mixer has only the pairs without look-ahead.
    """
    tokens = layer.grid[0] * layer.grid[1]
    if not isinstance(layer.mixer, LinearMixer) or tokens > MOST:
        return None
    causal = isinstance(layer.mixer, TriangularMixer)
    pairs = np.tri(tokens, dtype=bool) if causal else np.ones((tokens, tokens), bool)
    magnitudes = np.abs(used_matrix(layer.mixer, (1, tokens))).astype(np.float64)[pairs]
    squares = squared_distances(layer.grid)[pairs]
    unique, index, counts = np.unique(squares, return_inverse=True, return_counts=True)
    sums, total, distances = np.bincount(index, magnitudes), magnitudes.sum(), np.sqrt(unique)
    if not total:
        return Curve(distances, np.zeros(len(unique)), 0.0)
    return Curve(distances, sums / counts / magnitudes.mean(), float(sums @ distances / total))


def squared_distances(grid: Grid) -> np.ndarray:
    """Squared distances of all pairs of tokens: int64 N x N."""
    positions = np.indices(grid).reshape(2, -1)
    return ((positions[:, :, None] - positions[:, None, :]) ** 2).sum(0)


def center(grid: Grid) -> tuple[int, int]:
    """(row, column) of the central token; of an even side, the second of the two."""
    return grid[0] // 2, grid[1] // 2


def receptive_fields(trunk: Trunk, images: Iterable[Tensor]) -> np.ndarray:
    """Dependence of the central token after each layer on each patch embedding: float64 L h w.

    `images` are inputs 3 H W. Each entry is the root mean square, over images and channels, of the derivative of a
    random signed sum (seeded) of the channels of the central token. It estimates the norm of the block of the Jacobian,
    divided by sqrt(D). After Luo et al. (2016), who use a plain sum, which is 0 after a LayerNorm.
    """
    grid, depth = trunk.config.grid, trunk.config.architecture.depth
    row, column = center(grid)
    tokens = grid[0] * grid[1]
    index = row * grid[1] + column - tokens  # from the end: a class token comes first
    sums, count = np.zeros((depth, tokens)), 0
    generator = torch.Generator().manual_seed(0)
    trainable = [parameter for parameter in trunk.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        for image in images:
            stem = trunk.embed(image[None]).detach().requires_grad_()
            x = stem
            for number, block in enumerate(trunk.blocks[:depth]):
                x = block(x)
                signs = torch.randint(2, (1, x.shape[2]), generator=generator).to(x) * 2 - 1
                (gradient,) = torch.autograd.grad(x[:, index], stem, signs, retain_graph=True)
                sums[number] += gradient[0, -tokens:].double().square().mean(1).cpu().numpy()
            count += 1
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
    return np.sqrt(sums / max(count, 1)).reshape(depth, *grid)


def radius(field: np.ndarray) -> float:
    """Root mean square distance from the central token, weighted by the values of a field h w."""
    row, column = center(field.shape)
    down, across = np.indices(field.shape)
    squares = (down - row) ** 2 + (across - column) ** 2
    return float(np.sqrt((field * squares).sum() / (field.sum() or 1.0)))


def draw_distances(layers: Sequence[Layer], path: Path) -> bool:
    """Draw the distance curve of each layer to `path` (PNG and SVG); False if no layer has a curve."""
    curves = [(layer, curve) for layer in layers if (curve := distance_curve(layer))]
    lines = [
        Line(layer.name, curve.distances, curve.weights, COLORS[i % len(COLORS)], strong=True)
        for i, (layer, curve) in enumerate(curves)
    ]
    if lines:
        panel = Panel("mean |A| by distance, over the mean of all pairs", "curve", lines)
        draw_panels([panel], path, "distance in patches", BOTH)
    return bool(lines)


def draw_fields(fields: np.ndarray, layers: Sequence[Layer], path: Path) -> None:
    """Draw the receptive fields of `layers`, from fields L h w, to `path` (PNG and SVG) on a logarithmic scale."""
    columns = min(len(layers), 5)
    down = -(-len(layers) // columns)
    side = WIDTH / columns
    with new_figure(path, down * (side * fields.shape[1] / fields.shape[2] + 0.35) + 0.3, BOTH) as figure:
        cells = figure.subplots(down, columns, squeeze=False).ravel()
        for axes in cells:
            axes.axis("off")
        for axes, layer in zip(cells, layers):
            field = fields[layer.number]
            shades = np.log(np.maximum(field / (field.max() or 1.0), FLOOR)) / -np.log(FLOOR)
            axes.imshow(shades, cmap="Blues", vmin=-1, vmax=0, interpolation="nearest")
            axes.set_title(f"{layer.name}: {radius(field):.2f}", size=SMALL, pad=4)
        note = (
            "dependence of the central token on each patch; number: radius in patches; white: < 1/1000 of the maximum"
        )
        figure.supxlabel(note, color=FAINT, size=SMALL, x=0.01, ha="left")


def draw_radii(fields: np.ndarray, path: Path) -> None:
    """Draw the radius of the receptive field over the layers to `path` (PNG and SVG)."""
    radii = np.array([radius(field) for field in fields])
    line = Line("radius", np.arange(len(radii)), radii, BLUE, strong=True)
    draw_panels([Panel("radius of the effective receptive field, in patches", "score", [line])], path, "layer", BOTH)
