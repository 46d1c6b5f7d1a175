"""A torch network for images of a size that is asked for, or of their own aspect ratios."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from resmlp.config.image_size import NATIVE, Size, native_shapes
from resmlp.config.precision import Execution
from resmlp.hub.resolve import Source
from resmlp.imaging.crop import resize_whole, to_array
from resmlp.imaging.decode import to_rgb
from resmlp.inference.prediction import Images
from resmlp.inference.predictor import TorchPredictor, open_pixels
from resmlp.models import Saved, open_model
from resmlp.models.at_size import at_size, trunk_of
from resmlp.utils.checks import demand
from resmlp.utils.devices import find_device


def predictor_of(saved: Saved, device: torch.device, execution: Execution) -> TorchPredictor:
    """The network ready to predict, for images of the size that is asked for. Raises `UserError`."""
    if execution.size is None:
        return TorchPredictor(saved, device, execution)
    if execution.size == NATIVE:
        return NativePredictor(saved, device, execution)
    return TorchPredictor(at_size(saved, execution.size), device, execution)


class NativePredictor(TorchPredictor):
    """Takes each image as a whole, at about its own aspect ratio and as many tokens as the network was trained with.

    There is a network for each of the `shapes`; they share what does not depend on the grid of tokens. They are run by
    torch, in fp32 unless another precision is asked for.
    """

    def __init__(self, saved: Saved, device: torch.device, execution: Execution):
        config = trunk_of(saved, NATIVE).config
        backend = execution.backend
        demand(backend in (None, "torch"), f"--backend {backend} is for images of one size", "leave --img-size out")
        precision = None if execution.precision == "auto" else execution.precision
        super().__init__(saved, device, replace(execution, size=None, precision=precision))
        self.shapes = native_shapes(config.grid, config.architecture.patch_size)
        self._networks = {config.size: TorchPredictor(self.saved, device, self.execution)}

    def facts(self) -> list[str]:
        """As of `Predictor`."""
        return [*super().facts(), NATIVE]

    def keep(self, image: Image.Image) -> np.ndarray:
        """The whole RGB image, resized to the nearest of the shapes: uint8 3 h w."""
        return to_array(resize_whole(image, self.shapes, self.preprocessing.interpolation))

    def logits(self, images: Images) -> Tensor:
        """Images, or uint8 B 3 h w of one of the shapes -> float32 B K on the CPU."""
        return self._each(images, lambda network, pixels: network.logits(pixels))

    def features(self, images: Images, layers: int = 1) -> Tensor:
        """The same -> float32 B layers*D."""
        return self._each(images, lambda network, pixels: network.features(pixels, layers))

    def results(self, kept: Sequence[np.ndarray], top: int | None = None) -> list[Any]:
        """As of `Classifier`, in the order of `kept`: uint8 3 h w each."""
        found = list[Any](kept)
        for places in by_shape(kept):
            for place, result in zip(places, super().results([kept[i] for i in places], top)):
                found[place] = result
        return found

    def at(self, size: Size) -> TorchPredictor:
        """The network for one of the shapes; made at its first use."""
        if size not in self._networks:
            self._networks[size] = TorchPredictor(at_size(self.saved, size), self.device, self.execution)
        return self._networks[size]

    def _each(self, images: Images, run: Callable[[TorchPredictor, Any], Tensor]) -> Tensor:
        if isinstance(images, Tensor | np.ndarray):
            return run(self.at((images.shape[-2], images.shape[-1])), images)
        kept = [self.keep(to_rgb(image)) for image in images]
        groups = by_shape(kept)
        outputs = [run(self.at(kept[own[0]].shape[1:]), np.stack([kept[i] for i in own])) for own in groups]
        order = torch.tensor([i for own in groups for i in own])
        return torch.cat(outputs)[order.argsort()]


def by_shape(images: Sequence[Any]) -> list[list[int]]:
    """The positions of the arrays of each shape, in the order of the first of each."""
    groups = dict[tuple[int, ...], list[int]]()
    for place, image in enumerate(images):
        groups.setdefault(tuple(image.shape), []).append(place)
    return list(groups.values())


def load_network(source: Source, execution: Execution) -> TorchPredictor:
    """A classifier or a network of features of MODEL, ready to predict."""
    return predictor_of(open_model(source), find_device(execution.device), execution)


def load_pixels(source: Source, execution: Execution) -> TorchPredictor:
    """The same of the pixels themselves (`open_pixels`)."""
    return predictor_of(open_pixels(source), find_device(execution.device), execution)
