"""From a picture of any size to a class for each of its pixels: a network, and how it is shown pictures."""

from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from resmlp.cards import SegmenterCard
from resmlp.data import BaseSize, normalise
from resmlp.evaluate import sliding
from resmlp.models import Segmenter

Size = tuple[int, int]
"""height and width"""


class Labeller:
    """A network that labels each pixel, shown windows, or all of a picture at once, as `card` says.

    To see all of a picture the network is moved to the picture's size, brought to whole patches by `fill` below and on
    the right. The last one that was moved is kept, with the weights as they then were.
    """

    def __init__(self, model: Segmenter, card: SegmenterCard, device: torch.device):
        self.model, self.card, self.device = model.to(device), card, device
        self.preprocessing, self.classes = card.preprocessing, card.classes
        p = card.preprocessing
        self.prepare = BaseSize(card.base_size, p.interpolation)
        self.fill = [min(255, max(0, round(255 * mean))) for mean in p.mean]  # 0 when it is normalised
        self._moved = self.model

    @property
    def step(self) -> Size:
        """Of the sliding window, in pixels down and across."""
        height, width = (max(1, round(side * self.card.stride)) for side in self.card.model.size)
        return height, width

    def label(self, image: Tensor, size: Size) -> Tensor:
        """A picture as `prepare` made it, uint8 3 h w -> classes of a picture of `size`, int16 H W; -1 for none.

        Raises `UserError` for a network that is to be moved to the picture's size and cannot be.
        """
        window, step = self.card.model.size, self.step
        if self.card.whole:
            window = step = self.model.whole_patches((image.shape[1], image.shape[2]))
        see = partial(self._see, self._at(window))
        return sliding(see, image, window, step, self.card.model.num_classes, size=size, fill=self.fill)

    @torch.inference_mode()
    def read(self, picture: Image.Image) -> np.ndarray:
        """An RGB picture -> the class of each pixel, int16 H W; -1 where the network gives nothing finite."""
        height, width = picture.height, picture.width
        prepared: dict[str, Any] = self.prepare((picture, np.zeros((height, width), np.uint8)))
        return self.label(prepared["image"], (height, width)).numpy()

    def _at(self, size: Size) -> Segmenter:
        """The network for pictures of this size."""
        if size == self.model.config.size:
            return self.model
        if size != self._moved.config.size:
            self._moved = self.model.at(size)
        return self._moved

    def _see(self, model: Segmenter, windows: Tensor) -> Tensor:
        """uint8 B 3 h w -> logits, float32 B K h w"""
        p = self.preprocessing
        logits: Tensor = model(normalise(windows.to(self.device), p.mean, p.std))
        return logits.float()
