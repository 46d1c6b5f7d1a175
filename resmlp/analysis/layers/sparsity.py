"""Figure 3: how many weights of each matrix are small, layer by layer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from resmlp.analysis.curves import Line, Panel, draw_panels
from resmlp.analysis.layers.anatomy import Layer
from resmlp.analysis.style import BLUE, BOTH, GREEN, INK, ORANGE, PURPLE

THRESHOLD = 0.05
"""the paper's: the share of the largest magnitude below which a weight is small"""
LEVELS = 7
"""of a symmetric 4-bit number on each side of zero"""
COLORS = {"MLP 1": ORANGE, "MLP 2": GREEN, "token MLP 2": PURPLE, "1x1": PURPLE}
"""of those that are not the mixer's first"""


def small_share(matrix: Tensor, threshold: float = THRESHOLD) -> float:
    """Share of the entries whose magnitude is below `threshold` of the largest one; 1 for a matrix of zeros."""
    magnitudes = matrix.detach().double().abs()
    largest = magnitudes.max()
    return float((magnitudes < threshold * largest).double().mean()) if largest else 1.0


def zero_share(matrix: Tensor) -> float:
    """Share of the entries that become 0 in symmetric 4-bit numbers (-7 to 7) with one scale for the matrix.

    The largest magnitude becomes 7, and what is nearer to 0 than to 1 becomes 0. 1 for a matrix of zeros.
    """
    magnitudes = matrix.detach().double().abs()
    largest = magnitudes.max()
    return float(((magnitudes * LEVELS / largest).round() == 0).double().mean()) if largest else 1.0


def sparsity(layer: Layer, threshold: float = THRESHOLD) -> dict[str, dict[str, float]]:
    """Matrix -> {"small", "zero_in_4_bit"} of a layer."""
    return {
        name: {"small": small_share(matrix, threshold), "zero_in_4_bit": zero_share(matrix)}
        for name, matrix in layer.matrices().items()
    }


def draw_sparsity(found: Sequence[dict[str, dict[str, float]]], threshold: float, path: Path) -> None:
    """Draw what `sparsity` says of each layer to `path`, PNG and SVG: both shares over the layers."""
    titles = {
        "small": f"share of weights below {100 * threshold:g} % of the largest",
        "zero_in_4_bit": "share of weights that are 0 in 4 bits",
    }
    names = list(dict.fromkeys(name for layer in found for name in layer))
    panels = []
    for kind, title in titles.items():
        lines = []
        for name in names:
            x = np.array([number for number, layer in enumerate(found) if name in layer])
            y = np.array([layer[name][kind] for layer in found if name in layer])
            lines.append(Line(name, x, y, COLORS.get(name, BLUE if name in found[0] else INK), strong=True))
        panels.append(Panel(title, "score", lines))
    draw_panels(panels, path, "layer", BOTH)
