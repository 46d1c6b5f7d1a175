"""From an image of any size to a class for each of its pixels: a network, and how it is shown images."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from resmlp.config.model_config import SegmenterConfig, SegmenterModelConfig, read_config
from resmlp.data import BaseSize, MaskSet, UnreadableImage, normalize
from resmlp.hub.resolve import exists, file_of
from resmlp.inference.sliding_window import sliding
from resmlp.models.saved import check_folder, save_network
from resmlp.models.segmenter import Segmenter
from resmlp.models.weights import Weights, check_state, load_into, read_tensors
from resmlp.utils.checks import demand

Size = tuple[int, int]
"""height and width"""


class Labeller:
    """A network that labels each pixel, shown windows, or all of an image at once, as `card` says.

    To see all of an image the network is moved to the image's size, brought to whole patches by `fill` below and on
    the right. The last one that was moved is kept, with the weights as they then were.
    """

    def __init__(self, model: Segmenter, card: SegmenterModelConfig, device: torch.device):
        self.model, self.card, self.device = model.to(device), card, device
        self.preprocessing, self.classes = card.preprocessing, card.classes
        p = card.preprocessing
        self.prepare = BaseSize(card.base_size, p.interpolation)
        self.fill = [min(255, max(0, round(255 * mean))) for mean in p.mean]  # 0 when it is normalized
        self._moved = self.model

    @property
    def step(self) -> Size:
        """Of the sliding window, in pixels down and across."""
        height, width = (max(1, round(side * self.card.stride)) for side in self.card.model.size)
        return height, width

    def label(self, image: Tensor, size: Size) -> Tensor:
        """An image as `prepare` made it, uint8 3 h w -> classes of an image of `size`, int16 H W; -1 for none.

        Raises `UserError` for a network that is to be moved to the image's size and cannot be.
        """
        window, step = self.card.model.size, self.step
        if self.card.whole:
            window = step = self.model.whole_patches((image.shape[1], image.shape[2]))
        see = partial(self._see, self._at(window))
        return sliding(see, image, window, step, self.card.model.num_classes, size=size, fill=self.fill)

    @torch.inference_mode()
    def read(self, image: Image.Image) -> np.ndarray:
        """An RGB image -> the class of each pixel, int16 H W; -1 where the network gives nothing finite."""
        height, width = image.height, image.width
        prepared: dict[str, Any] = self.prepare((image, np.zeros((height, width), np.uint8)))
        return self.label(prepared["image"], (height, width)).numpy()

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
        logits: Tensor = model(normalize(windows.to(self.device), p.mean, p.std))
        return logits.float()


@dataclass(frozen=True)
class SavedSegmenter:
    """A network that labels each pixel, in evaluation mode, with what it was trained for."""

    model: Segmenter
    card: SegmenterModelConfig


def save_segmenter(folder: Path, model: Segmenter, card: SegmenterModelConfig) -> None:
    """Write `model.safetensors` and `model.json` into `folder`; the card's `model` is that of the network."""
    save_network(folder, model, replace(card, model=model.config))


def open_segmenter(source: str | Path) -> SavedSegmenter:
    """The segmenter of a run folder, or of a file of weights with its .json beside it.

    Raises `UserError`: nothing there, a network of another kind, weights that do not fit.
    """
    source = str(source)
    demand(exists(source), f"no segmenter at {source}", "give the run folder of one, or its model.safetensors")
    check_folder(source)
    file = file_of(source)
    described = file.with_suffix(".json")
    demand(described.is_file(), f"no {described}", "it says which network the weights are of: copy it as well")
    card = read_config(described, SegmenterModelConfig)
    state = read_tensors(file)
    check_state(file, state)
    return SavedSegmenter(_loaded(card.model, Weights(state, source)), card)


def _loaded(config: SegmenterConfig, weights: Weights) -> Segmenter:
    """The network of `config` with these weights, whose shapes are compared before anything is allocated."""
    with torch.device("meta"):
        model = Segmenter(config)
    load_into(model, weights)
    if config.backbone is not None:  # some of timm's networks have tensors that are in no file
        model = Segmenter(config)
        load_into(model, weights)
    return model.eval()


class Labeled(NamedTuple):
    """An image of H x W pixels, and what is said of each."""

    name: str
    image: Image.Image
    """RGB"""
    truth: np.ndarray
    """uint8 H W, 255 where it counts for nothing"""
    said: np.ndarray
    """int16 H W, -1 for nothing"""


def examples(labeller: Labeller, masks: MaskSet, count: int) -> list[Labeled]:
    """What a network says of `count` images of a set, evenly spread; those that cannot be read are passed over."""
    found = []
    for i in np.linspace(0, len(masks) - 1, min(count, len(masks))).astype(int).tolist():
        try:
            image, truth = masks.read(i)
        except UnreadableImage:
            continue
        found.append(Labeled(masks.name(i), image, truth, labeller.read(image)))
    return found
