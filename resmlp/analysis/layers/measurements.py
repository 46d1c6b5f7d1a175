"""What `resmlp.inspect` measures in each layer."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from resmlp.analysis.layers.anatomy import Anatomy, Layer
from resmlp.analysis.layers.receptive_field import distance_curve, radius, receptive_fields
from resmlp.analysis.layers.scales import Scales, scales
from resmlp.analysis.layers.sparsity import Sparsity, sparsity
from resmlp.utils.serialization import to_dict


@dataclass(frozen=True)
class Distance:
    """The weights of A by the distance of the two patches."""

    mean: float
    """mean distance of a pair of patches, weighted by |A|"""
    distances: tuple[float, ...]
    """each distance that occurs, in patches"""
    weights: tuple[float, ...]
    """mean |A| at each distance, over the mean of all pairs"""


@dataclass(frozen=True)
class LayerNumbers:
    """What was measured in one layer."""

    layer: int
    name: str
    """`layer 3`, `decoder layer 0`"""
    tokens: tuple[int, int]
    """the grid: (height, width)"""
    sparsity: Sparsity
    """matrix -> shares of small weights"""
    scales: Scales
    """branch -> mean magnitudes of its Affine and LayerScale"""
    distance: Distance | None = None
    """None if no matrix mixes the tokens, and above 4,096 tokens"""
    radius: float | None = None
    """of the effective receptive field, in patches; None for a translator"""

    def to_dict(self) -> dict[str, Any]:
        """As in `inspect.json`: `distance` and `radius` are left out if they are None."""
        return {key: value for key, value in to_dict(self).items() if value is not None}


class Measurements(NamedTuple):
    """What was measured in each of L layers."""

    layers: Sequence[Layer]
    sparsity: list[Sparsity]
    scales: list[Scales]
    fields: np.ndarray | None
    """receptive fields L h w; None for a translator"""

    def numbers(self) -> Iterator[LayerNumbers]:
        """The numbers of each layer."""
        for i, layer in enumerate(self.layers):
            distance = None
            if curve := distance_curve(layer):
                distances, weights = (tuple(float(f"{x:.6g}") for x in xs) for xs in (curve.distances, curve.weights))
                distance = Distance(curve.mean, distances, weights)
            field_radius = None if self.fields is None else radius(self.fields[i])
            parts = (layer.number, layer.name, layer.grid, self.sparsity[i], self.scales[i])
            yield LayerNumbers(*parts, distance, field_radius)


def measure(anatomy: Anatomy, threshold: float, images: Iterable[Tensor]) -> Measurements:
    """Measure every layer; `images` are inputs 3 H W for the receptive fields of an image network."""
    layers = anatomy.layers
    fields = None if anatomy.trunk is None else receptive_fields(anatomy.trunk, images)
    return Measurements(
        layers, [sparsity(layer, threshold) for layer in layers], [scales(layer) for layer in layers], fields
    )
