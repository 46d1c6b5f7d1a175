"""Alternative text for the figures of `inspect`: one sentence of numbers for each figure."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from resmlp.analysis.layers.anatomy import Layer
from resmlp.analysis.layers.filters import filters_of
from resmlp.analysis.layers.receptive_field import distance_curve, radius


def of_filters(layers: Sequence[Layer]) -> str:
    """The largest magnitude among the filters of each layer."""
    pairs = [(layer.name, filters) for layer in layers if (filters := filters_of(layer.mixer, layer.grid))]
    return f"Largest magnitudes: {', '.join(f'{name} {np.abs(filters.images).max():.3g}' for name, filters in pairs)}."


def of_sparsity(layers: Sequence[Mapping[str, Mapping[str, float]]]) -> str:
    """The share of small weights in each matrix, over the layers."""
    names = dict.fromkeys(name for layer in layers for name in layer)
    shares = [_range(name, [layer[name]["small"] for layer in layers if name in layer]) for name in names]
    return f"Shares of small weights: {'; '.join(shares)}."


def of_distances(layers: Sequence[Layer]) -> str:
    """The mean distance of the token pairs, weighted by |A|, in each layer."""
    curves = [(layer.name, curve) for layer in layers if (curve := distance_curve(layer))]
    return f"Mean distances in patches: {', '.join(f'{name} {curve.mean:.2f}' for name, curve in curves)}."


def of_fields(fields: np.ndarray, layers: Sequence[Layer]) -> str:
    """The radius of the receptive field of each layer."""
    return f"Radii in patches: {', '.join(f'{layer.name} {radius(fields[layer.number]):.2f}' for layer in layers)}."


def of_radii(fields: np.ndarray) -> str:
    """The radius of the receptive field, over the layers."""
    return f"{_range('The radius in patches:', [radius(field) for field in fields])}."


def of_scales(layers: Iterable[Mapping[str, Mapping[str, float]]]) -> str:
    """The mean magnitude of each scale, over the layers."""
    means: dict[str, list[float]] = {}
    for layer in layers:
        for branch, parts in layer.items():
            for part, value in parts.items():
                means.setdefault(f"{branch} {part}", []).append(value)
    return f"Means: {'; '.join(_range(name, values) for name, values in means.items())}."


def _range(name: str, values: Sequence[float]) -> str:
    """`name`, its values in the first and in the last layer, and the range over all layers."""
    first, last, low, high = (f"{value:.3g}" for value in (values[0], values[-1], min(values), max(values)))
    if low == high:
        return f"{name} {low} in all layers" if len(values) > 1 else f"{name} {low}"
    span = "" if {first, last} == {low, high} else f", all within {low} and {high}"
    return f"{name} from {first} in the first to {last} in the last layer{span}"
