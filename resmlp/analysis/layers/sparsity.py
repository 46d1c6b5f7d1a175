"""Figure 3: the share of small weights in each matrix, over the layers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from resmlp.analysis.curves import Line, Panel, draw_panels
from resmlp.analysis.layers.anatomy import Layer
from resmlp.analysis.style import BLUE, BOTH, GREEN, INK, ORANGE, PURPLE

THRESHOLD = 0.05
"""of the paper: a weight is small below this share of the largest magnitude of its matrix"""
LEVELS = 7
"""positive values of a symmetric 4-bit number"""
COLORS = {"MLP 1": ORANGE, "MLP 2": GREEN, "token MLP 2": PURPLE, "1x1": PURPLE}
"""of matrices other than the first of the token mixer"""

Sparsity = dict[str, dict[str, float]]
"""matrix -> {"small", "zero_in_4_bit"}"""


def small_share(matrix: Tensor, threshold: float = THRESHOLD) -> float:
    """Share of the entries with a magnitude below `threshold` times the largest; 1 for a matrix of zeros."""
    magnitudes = matrix.detach().double().abs()
    largest = magnitudes.max()
    return float((magnitudes < threshold * largest).double().mean()) if largest else 1.0


def zero_share(matrix: Tensor) -> float:
    """Share of the entries that symmetric 4-bit numbers (-7 to 7), with one scale for the matrix, round to 0.

    The scale maps the largest magnitude to 7. The share is 1 for a matrix of zeros.
    """
    magnitudes = matrix.detach().double().abs()
    largest = magnitudes.max()
    return float(((magnitudes * LEVELS / largest).round() == 0).double().mean()) if largest else 1.0


def sparsity(layer: Layer, threshold: float = THRESHOLD) -> Sparsity:
    """Both shares for each matrix of a layer."""
    return {
        name: {"small": small_share(matrix, threshold), "zero_in_4_bit": zero_share(matrix)}
        for name, matrix in layer.matrices().items()
    }


def draw_sparsity(layers: Sequence[Sparsity], threshold: float, path: Path) -> None:
    """Draw both shares over the layers to `path` (PNG and SVG)."""
    titles = {
        "small": f"share of weights below {100 * threshold:g} % of the largest",
        "zero_in_4_bit": "share of weights that round to 0 in 4 bits",
    }
    names = list(dict.fromkeys(name for layer in layers for name in layer))
    panels = []
    for kind, title in titles.items():
        lines = []
        for name in names:
            x = np.array([number for number, layer in enumerate(layers) if name in layer])
            y = np.array([layer[name][kind] for layer in layers if name in layer])
            lines.append(Line(name, x, y, COLORS.get(name, BLUE if name in layers[0] else INK), strong=True))
        panels.append(Panel(title, "score", lines))
    draw_panels(panels, path, "layer", BOTH)
