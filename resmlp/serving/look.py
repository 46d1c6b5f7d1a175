"""Which patches a layer mixes: the rows of A of a network's linear mixers."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from resmlp.backends.numpy_trunk import Layer as PlainLayer
from resmlp.inference.plain import PlainClassifier
from resmlp.inference.prediction import ImagePredictor
from resmlp.serving import answers
from resmlp.serving.limits import Refusal
from resmlp.serving.options import LookOptions

if TYPE_CHECKING:
    from resmlp.analysis.layers.anatomy import Layer


class Look:
    """The layers of one network whose mixer is a matrix over the patches."""

    def __init__(self, model: str, predictor: ImagePredictor):
        self.model, self.predictor = model, predictor
        self._largest: dict[int, float] = {}

    @cached_property
    def all_layers(self) -> "Sequence[Layer | PlainLayer]":
        """Those of a network of ours that torch or NumPy runs; none of any other."""
        if isinstance(self.predictor, PlainClassifier):
            return self.predictor.layers()
        model: Any = getattr(self.predictor, "model", None)
        if model is None:  # an exported network: nothing here may load torch
            return []
        from resmlp.analysis.layers.anatomy import find_trunk, of_trunk

        trunk = find_trunk(model)
        return [] if trunk is None else list(of_trunk(trunk).layers)

    @cached_property
    def layers(self) -> "dict[int, Layer | PlainLayer]":
        """Those with a matrix A, by their numbers."""
        return {layer.number: layer for layer in self.all_layers if "A" in layer.matrices()}

    def listed(self) -> tuple[answers.Layer, ...]:
        """For /v1/models."""
        return tuple(answers.Layer(layer.number, layer.name, layer.grid) for layer in self.layers.values())

    def row(self, options: LookOptions) -> answers.Row:
        """The row of A of one patch. Raises `Refusal` 404 for a layer or a patch that is not there."""
        layer = self.layers.get(options.layer)
        if layer is None:
            there = 0 <= options.layer < len(self.all_layers)
            why = "mixes the patches without a matrix A" if there else "does not exist"
            raise Refusal(404, f"layer {options.layer} of {self.model} {why}")
        height, width = layer.grid
        if not (0 <= options.row < height and 0 <= options.column < width):
            raise Refusal(404, f"{self.model} has {height} x {width} patches: none at {options.row}, {options.column}")
        matrix: Any = layer.matrices()["A"]
        if not isinstance(matrix, np.ndarray):
            matrix = matrix.detach().float().cpu().numpy()
        row = matrix[options.row * width + options.column].reshape(layer.grid)
        if layer.number not in self._largest:
            self._largest[layer.number] = float(np.abs(matrix).max())
        patch, largest = (options.row, options.column), self._largest[layer.number]
        return answers.Row(self.model, layer.number, layer.name, patch, _rounded(row), largest)


def _rounded(row: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """Six digits, which is more than a screen shows."""
    return tuple(tuple(float(f"{value:.6g}") for value in line) for line in row.tolist())
