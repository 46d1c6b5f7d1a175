"""The sizes of images that a served network takes beside its own: it is moved to one at the first use."""

from dataclasses import replace
from typing import Any

from resmlp.config.image_size import Size
from resmlp.config.model_json import TrunkConfig
from resmlp.config.precision import Execution
from resmlp.inference.model_kinds import load_source
from resmlp.inference.plain import PlainClassifier
from resmlp.inference.prediction import ImagePredictor

FACTORS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""of the sides of the network's own images"""
MOST = 2**29
"""bytes of the weights that depend on the size, of all sizes of one network together"""


def sizes_of(predictor: ImagePredictor) -> tuple[Size, ...]:
    """Heights and widths in pixels, the smallest first, whose weights can be kept together in `MOST` bytes.

    A network of another library, one that torch does not run, and one that is no classifier have their own size alone.
    """
    own = predictor.preprocessing.size
    if isinstance(predictor, PlainClassifier):
        matrices = (layer.weight.nbytes for layer in predictor.layers())
        return _sizes(predictor.trunk.config, sum(matrices, start=1))
    if not hasattr(predictor, "saved"):  # an exported network: nothing here may load torch
        return (own,)
    from resmlp.inference.predictor import TorchPredictor
    from resmlp.models import Trunk

    if not isinstance(predictor, TorchPredictor) or not isinstance(predictor.model, Trunk):
        return (own,)
    if predictor.execution.backend not in (None, "torch"):
        return (own,)
    return _sizes(predictor.model.config, _bytes_of_grid(predictor.model))


def _sizes(config: TrunkConfig, bytes_of_grid: int) -> tuple[Size, ...]:
    (rows, columns), patch = config.grid, config.architecture.patch_size
    room, found = MOST / bytes_of_grid, {config.size}
    for factor in FACTORS:
        down, across = (max(1, round(factor * side)) for side in (rows, columns))
        room -= (down * across / (rows * columns)) ** 2  # A has a weight for each pair of patches
        if room >= 0:
            found.add((down * patch, across * patch))
    return tuple(sorted(found))


def at_size(predictor: Any, size: Size) -> ImagePredictor:
    """The network for images of one of its sizes, in batches of no more pixels than its own; torch runs it."""
    if isinstance(predictor, PlainClassifier):
        moved = load_source(predictor.source, Execution("cpu", size=size))
    else:
        from resmlp.inference.native import predictor_of

        moved = predictor_of(predictor.saved, predictor.device, replace(predictor.execution, size=size))
    assert isinstance(moved, ImagePredictor)
    (height, width), (rows, columns) = predictor.preprocessing.size, size
    moved.batch_size = max(1, min(predictor.batch_size, predictor.batch_size * height * width // (rows * columns)))
    return moved


def _bytes_of_grid(trunk: Any) -> int:
    """Of the parameters whose shapes depend on the grid of patches; at least 1."""
    from resmlp.models.resize import rule_of

    state, arch = trunk.state_dict(), trunk.config.architecture
    return sum((v.numel() * v.element_size() for key, v in state.items() if rule_of(key, arch)), start=1)
