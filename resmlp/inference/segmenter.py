"""A segmenter ready to predict: from an image of any size to a class for each of its pixels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from resmlp.config.model_json import SegmenterConfig, SegmenterModelConfig
from resmlp.config.precision import Execution, Precision
from resmlp.data import BaseSize, MaskSet, UnreadableImage, normalize
from resmlp.data.masks.joint_transforms import fit_size
from resmlp.hub.resolve import Source, resolve
from resmlp.inference.prediction import ImagePredictor
from resmlp.inference.runners import autocast, one_precision
from resmlp.inference.sliding_window import sliding
from resmlp.models.model_files import save_network
from resmlp.models.segmenter import Segmenter
from resmlp.models.weights import Weights, load_into, read_own_weights
from resmlp.utils.checks import demand, demand_finite
from resmlp.utils.devices import find_device
from resmlp.utils.errors import counted

Size = tuple[int, int]
"""height and width"""
MAX_LOGITS = 2**32
"""bytes of the logits of an image that is resized: they are held together"""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The class of each pixel of one image."""

    labels: np.ndarray
    """int16 H W; -1 where the network gives nothing finite"""
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...] = ()
    """a color for each class; empty where the data has none"""

    def shares(self) -> dict[str, float]:
        """The share of the pixels of each class that occurs, largest first."""
        counts = np.bincount(self.labels[self.labels >= 0].ravel(), minlength=len(self.classes))
        order = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i]]
        return {self.classes[i]: float(counts[i] / self.labels.size) for i in order}

    def to_dict(self) -> dict[str, Any]:
        """`{"shares": {class: share of the pixels}}`."""
        return {"shares": self.shares()}

    def __str__(self) -> str:
        return ", ".join(f"{name} {share:.3f}" for name, share in self.shares().items())


class SegmentationPredictor(ImagePredictor):
    """A network that labels each pixel, shown windows, or all of an image at once, as `config` says.

    To see all of an image the network is moved to the image's size, brought to whole patches by `fill` below and on
    the right. The last one that was moved is kept, with the weights as they then were.
    """

    batch_size = 1

    def __init__(
        self, model: Segmenter, config: SegmenterModelConfig, device: torch.device, precision: Precision = "fp32"
    ):
        self.model, self.config, self.device, self.precision = model.to(device), config, device, precision
        self.preprocessing, self.classes = config.preprocessing, config.classes
        p = config.preprocessing
        self.prepare = BaseSize(config.base_size, p.interpolation)
        self.fill = [min(255, max(0, round(255 * mean))) for mean in p.rgb_mean]  # 0 when it is normalized
        self._moved = self.model

    def facts(self) -> list[str]:
        """As of `Predictor`."""
        network, (height, width) = self.config.model, self.config.model.size
        name = network.trunk.name if network.trunk else f"timm:{network.backbone}"
        where = [str(self.device), *[self.precision] * (self.precision != "fp32")]
        return [f"{name} with UPerNet", f"{height}x{width}", counted(network.num_classes, "class"), *where]

    @property
    def step(self) -> Size:
        """Of the sliding window, in pixels down and across."""
        height, width = (max(1, round(side * self.config.stride)) for side in self.config.model.size)
        return height, width

    def label(self, image: Tensor, size: Size) -> Tensor:
        """An image as `prepare` made it, uint8 3 h w -> classes of an image of `size`, int16 H W; -1 for none.

        Raises `UserError` for a network that is to be moved to the image's size and cannot be.
        """
        window, step = self.config.model.size, self.step
        if self.config.whole:
            window = step = self.model.whole_patches((image.shape[1], image.shape[2]))
        see = partial(self._see, self._at(window))
        return sliding(see, image, window, step, self.config.model.num_classes, size=size, fill=self.fill)

    def keep(self, image: Image.Image) -> Image.Image:
        """The image itself: its windows are cut while the network runs."""
        return image

    def results(self, kept: Sequence[Image.Image]) -> list[Segmentation]:
        """The `Segmentation` of each RGB image."""
        labels = [self.read(image) for image in kept]
        demand_finite(all((each >= 0).all() for each in labels))
        return [Segmentation(each, self.classes, self.config.palette) for each in labels]

    @torch.inference_mode()
    def read(self, image: Image.Image) -> np.ndarray:
        """An RGB image -> the class of each pixel, int16 H W; -1 where the network gives nothing finite."""
        height, width = image.height, image.width
        self._check_size((height, width))
        prepared: dict[str, Any] = self.prepare((image, np.zeros((height, width), np.uint8)))
        return self.label(prepared["image"], (height, width)).numpy()

    def _check_size(self, size: Size) -> None:
        """Raise `UserError` for an image whose logits, resized as the network sees it, do not fit into memory."""
        resized = fit_size(size, self.config.base_size)
        large = 4 * self.config.model.num_classes * resized[0] * resized[1] > MAX_LOGITS
        what = "an image of {} x {} pixels becomes one of {} x {}".format(*size[::-1], *resized[::-1])
        demand(resized == size or not large, f"{what} for the network, too large for memory", "cut it into parts")

    def _at(self, size: Size) -> Segmenter:
        """The network for images of this size."""
        if size == self.model.config.size:
            return self.model
        if size != self._moved.config.size:
            self._moved = self.model.at(size)
        return self._moved

    def _see(self, model: Segmenter, windows: Tensor) -> Tensor:
        """uint8 B 3 h w -> logits, float32 B K h w"""
        p = self.preprocessing
        with autocast(self.device, self.precision):
            logits: Tensor = model(normalize(windows.to(self.device), p.mean, p.std))
        return logits.float()


@dataclass(frozen=True)
class SavedSegmenter:
    """A network that labels each pixel, in evaluation mode, with what it was trained for."""

    model: Segmenter
    config: SegmenterModelConfig


def save_segmenter(folder: Path, model: Segmenter, config: SegmenterModelConfig) -> None:
    """Write `model.safetensors` and `model.json` into `folder`; the config's `model` is that of the network."""
    save_network(folder, model, replace(config, model=model.config))


def open_segmenter(model: str | Path | Source) -> SavedSegmenter:
    """The segmenter of a run folder, or of a weight file with its .json beside it.

    Raises `UserError` for a network of another kind, and for weights that do not fit.
    """
    source = resolve(model)
    config = source.expect(SegmenterModelConfig)
    assert config is not None
    return SavedSegmenter(_loaded(config.model, read_own_weights(source)), config)


def load_segmenter(source: Source, execution: Execution) -> SegmentationPredictor:
    """A segmenter ready to predict; in precision auto in fp32, because its masks are not compared."""
    demand(execution.backend is None, f"--backend {execution.backend} is for classifiers", "leave it out")
    device, saved = find_device(execution.device), open_segmenter(source)
    return SegmentationPredictor(saved.model, saved.config, device, one_precision(device, execution))


def _loaded(config: SegmenterConfig, weights: Weights) -> Segmenter:
    """The network of `config` with these weights, whose shapes are compared before anything is allocated."""
    with torch.device("meta"):
        model = Segmenter(config)
    load_into(model, weights)
    if config.backbone is not None:  # some of timm's networks have tensors that are in no file
        model = Segmenter(config)
        load_into(model, weights)
    return model.eval()


class Example(NamedTuple):
    """An image of H x W pixels, and what is predicted of each."""

    name: str
    image: Image.Image
    """RGB"""
    ground_truth: np.ndarray
    """uint8 H W, 255 where it counts for nothing"""
    predicted: np.ndarray
    """int16 H W, -1 for nothing"""


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
