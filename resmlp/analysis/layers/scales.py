"""How large the channel-wise parts of each layer are: Affine before a branch, LayerScale after it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from resmlp.analysis.curves import Line, Panel, draw_panels
from resmlp.analysis.layers.anatomy import Layer
from resmlp.analysis.style import BLUE, BOTH, GREEN, ORANGE

TITLES = {
    "alpha": "mean |alpha|, the factor before a branch",
    "beta": "mean |beta|, the shift before a branch",
    "gamma": "mean |gamma|, the factor after a branch (LayerScale)",
    "gamma beta": "mean |beta| of the shift after a branch",
}
COLORS = {"tokens": BLUE, "channels": ORANGE, "source": GREEN}
SOLID = (0.0, ())
DASHES: dict[str, tuple[float, tuple[float, ...]]] = {"channels": (0.0, (4.0, 4.0)), "source": (0.0, (1.0, 4.0))}
"""of those that are drawn over others, which may lie at the same places"""

Scales = dict[str, dict[str, float]]


def scales(layer: Layer) -> Scales:
    """Branch -> {"alpha", "beta", "gamma"}, the mean magnitudes over the channels, of those that it has.

    Weight and bias of a LayerNorm or a BatchNorm stand where alpha and beta do. A scale that is an Affine, as equations
    2 and 3 write it, has a "gamma beta" as well.
    """
    found: Scales = {}
    for name, branch in layer.branches.items():
        before, after = branch.norm, branch.scale
        parts = {
            "alpha": _first(before, "alpha", "weight"),
            "beta": _first(before, "beta", "bias"),
            "gamma": _first(after, "gamma", "alpha"),
            "gamma beta": _first(after, "beta"),
        }
        found[name] = {key: float(value.detach().abs().mean()) for key, value in parts.items() if value is not None}
    return found


def _first(part: nn.Module, *names: str) -> Tensor | None:
    """The first of its parameters that it has."""
    return next((value for name in names if (value := getattr(part, name, None)) is not None), None)


def draw_scales(found: Sequence[Scales], path: Path) -> bool:
    """Draw what `scales` says of each layer to `path`, PNG and SVG; False where there is nothing to draw."""
    branches = list(dict.fromkeys(name for layer in found for name in layer))
    panels = []
    for kind, title in TITLES.items():
        lines = []
        for name in branches:
            points = [(i, layer[name][kind]) for i, layer in enumerate(found) if kind in layer.get(name, {})]
            if points:
                x, y = np.array(points, float).T
                lines.append(Line(name, x, y, COLORS[name], True, DASHES.get(name, SOLID)))
        if lines:
            panels.append(Panel(title, "loss", lines))
    if panels:
        draw_panels(panels, path, "layer", BOTH)
    return bool(panels)
