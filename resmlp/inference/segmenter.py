"""A network that labels each pixel, run by torch."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from resmlp.config.model_json import SegmenterModelConfig
from resmlp.config.precision import Execution, Precision
from resmlp.data import MaskSet, UnreadableImage, normalize
from resmlp.hub.resolve import Source
from resmlp.inference.runners import autocast, one_precision
from resmlp.inference.segmentation import Example, SegmentationPredictor, Size
from resmlp.inference.torch_sliding_window import TorchSlidingWindow
from resmlp.models.at_size import segmenter_at
from resmlp.models.segmenter import Segmenter
from resmlp.models.segmenter_files import open_segmenter
from resmlp.utils.checks import demand
from resmlp.utils.devices import find_device


class TorchSegmentationPredictor(SegmentationPredictor):
    """A network of torch that labels each pixel.

    To see all of an image it is moved to the image's size. The last one that was moved is kept, with the weights as
    they then were.
    """

    def __init__(
        self, model: Segmenter, config: SegmenterModelConfig, device: torch.device, precision: Precision = "fp32"
    ):
        self.model, self.config, self.device, self.precision = model.to(device), config, device, precision
        self.preprocessing, self.classes = config.preprocessing, config.classes
        self._moved = self.model

    def facts(self) -> list[str]:
        """As of `Predictor`."""
        return self._facts(str(self.device), *[self.precision] * (self.precision != "fp32"))

    @torch.inference_mode()
    def label(self, image: Tensor | np.ndarray, size: Size) -> np.ndarray:
        """As of `SegmentationPredictor`."""
        return super().label(image, size)

    def sliding_window(self, size: Size) -> TorchSlidingWindow:
        """As of `SegmentationPredictor`."""
        window, step = self.config.model.size, self.step
        if self.config.whole:
            window = step = self.model.whole_patches(size)
        see = partial(self._see, self._at(window))
        return TorchSlidingWindow(see, window, step, self.config.model.num_classes, self.fill)

    def _at(self, size: Size) -> Segmenter:
        """The network for images of this size."""
        if size == self.model.config.size:
            return self.model
        if size != self._moved.config.size:
            self._moved = self.model.at(size)
        return self._moved

    def _see(self, model: Segmenter, windows: np.ndarray) -> Tensor:
        """uint8 B 3 h w -> logits, float32 B K h w"""
        p = self.preprocessing
        with autocast(self.device, self.precision):
            logits: Tensor = model(normalize(torch.from_numpy(windows).to(self.device), p.mean, p.std))
        return logits.float()


def load_segmenter(source: Source, execution: Execution) -> TorchSegmentationPredictor:
    """A segmenter ready to predict; in precision auto in fp32, because its masks are not compared."""
    demand(execution.backend is None, f"--backend {execution.backend} is for classifiers", "leave it out")
    device, saved = find_device(execution.device), segmenter_at(open_segmenter(source), execution.size)
    return TorchSegmentationPredictor(saved.model, saved.config, device, one_precision(device, execution))


def examples(predictor: SegmentationPredictor, masks: MaskSet, count: int) -> list[Example]:
    """What a network says of `count` images of a set, evenly spread; those that cannot be read are passed over."""
    found = []
    for i in np.linspace(0, len(masks) - 1, min(count, len(masks))).astype(int).tolist():
        try:
            image, ground_truth = masks.read(i)
        except UnreadableImage:
            continue
        found.append(Example(masks.name(i), image, ground_truth, predictor.read(image)))
    return found
