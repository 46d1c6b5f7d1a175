"""What the figures of `inspect` say, as a sentence of numbers each: for those who do not see them."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from resmlp.analysis.layers.anatomy import Layer
from resmlp.analysis.layers.filters import shown
from resmlp.analysis.layers.receptive_field import distance_curve, radius


def of_filters(layers: Sequence[Layer]) -> str:
    """The largest magnitude that Figure 2 shows of each layer."""
    found = [(layer.name, filters) for layer in layers if (filters := shown(layer.mixer, layer.grid))]
    return f"Largest magnitudes: {', '.join(f'{name} {np.abs(own.images).max():.3g}' for name, own in found)}."


def of_sparsity(found: Sequence[Mapping[str, Mapping[str, float]]]) -> str:
    """The share of small weights of each matrix over the layers."""
    names = dict.fromkeys(name for layer in found for name in layer)
    shares = [_ranged(name, [layer[name]["small"] for layer in found if name in layer]) for name in names]
    return f"Shares of small ones: {'; '.join(shares)}."


def of_distances(layers: Sequence[Layer]) -> str:
    """The mean distance of each layer's pairs."""
    found = [(layer.name, curve) for layer in layers if (curve := distance_curve(layer))]
    return f"Mean distances in patches: {', '.join(f'{name} {curve.mean:.2f}' for name, curve in found)}."


def of_fields(fields: np.ndarray, layers: Sequence[Layer]) -> str:
    """The radius of each of these layers' receptive fields."""
    return f"Radii in patches: {', '.join(f'{layer.name} {radius(fields[layer.number]):.2f}' for layer in layers)}."


def of_radii(fields: np.ndarray) -> str:
    """The radius over the layers."""
    return f"{_ranged('The radius in patches:', [radius(field) for field in fields])}."


def of_scales(found: Iterable[Mapping[str, Mapping[str, float]]]) -> str:
    """The mean magnitude of each scale over the layers."""
    means: dict[str, list[float]] = {}
    for layer in found:
        for branch, parts in layer.items():
            for part, value in parts.items():
                means.setdefault(f"{branch} {part}", []).append(value)
    return f"Means: {'; '.join(_ranged(name, values) for name, values in means.items())}."


def _ranged(name: str, values: Sequence[float]) -> str:
    """`name` with the first and the last of its values over the layers, and the span of all."""
    first, last, low, high = (f"{value:.3g}" for value in (values[0], values[-1], min(values), max(values)))
    if low == high:
        return f"{name} {low} in all layers" if len(values) > 1 else f"{name} {low}"
    span = "" if {first, last} == {low, high} else f", all within {low} and {high}"
    return f"{name} from {first} in the first to {last} in the last layer{span}"
