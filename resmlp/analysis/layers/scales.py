"""Magnitudes of the channel-wise scales: Affine (or a norm) before a branch, LayerScale after it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from resmlp.analysis.curves import Line, Panel, draw_panels
from resmlp.analysis.layers.anatomy import Layer
from resmlp.analysis.style import BLUE, BOTH, GREEN, ORANGE

TITLES = {
    "alpha": "mean |alpha|, scale before a branch",
    "beta": "mean |beta|, shift before a branch",
    "gamma": "mean |gamma|, scale after a branch (LayerScale)",
    "gamma beta": "mean |beta|, shift after a branch",
}
COLORS = {"tokens": BLUE, "channels": ORANGE, "source": GREEN}
SOLID = (0.0, ())
DASHES: dict[str, tuple[float, tuple[float, ...]]] = {"channels": (0.0, (4.0, 4.0)), "source": (0.0, (1.0, 4.0))}
"""dashes of the branches that are drawn over others, so that equal curves stay visible"""

Scales = dict[str, dict[str, float]]


def scales(layer: Layer) -> Scales:
    """Branch -> mean magnitudes over the channels of "alpha", "beta" and "gamma", as far as the branch has them.

    The weight and bias of a LayerNorm or BatchNorm count as alpha and beta. An Affine after a branch (equations 2 and
    3) also has "gamma beta".
    """
    means: Scales = {}
    for name, branch in layer.branches.items():
        before, after = branch.norm, branch.scale
        parts = {
            "alpha": _first(before, "alpha", "weight"),
            "beta": _first(before, "beta", "bias"),
            "gamma": _first(after, "gamma", "alpha"),
            "gamma beta": _first(after, "beta"),
        }
        means[name] = {key: float(value.detach().abs().mean()) for key, value in parts.items() if value is not None}
    return means


def _first(part: nn.Module, *names: str) -> Tensor | None:
    """The first of the named parameters that exists."""
    return next((value for name in names if (value := getattr(part, name, None)) is not None), None)


def draw_scales(layers: Sequence[Scales], path: Path) -> bool:
    """Draw the scales of each layer to `path` (PNG and SVG); False if no layer has scales."""
    branches = list(dict.fromkeys(name for layer in layers for name in layer))
    panels = []
    for kind, title in TITLES.items():
        lines = []
        for name in branches:
            points = [(i, layer[name][kind]) for i, layer in enumerate(layers) if kind in layer.get(name, {})]
            if points:
                x, y = np.array(points, float).T
                lines.append(Line(name, x, y, COLORS[name], True, DASHES.get(name, SOLID)))
        if lines:
            panels.append(Panel(title, "loss", lines))
    if panels:
        draw_panels(panels, path, "layer", BOTH)
    return bool(panels)
