"""From a picture of any size to a class for each of its pixels: a network, and how it is shown pictures."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from resmlp.cards import SegmenterCard
from resmlp.config import Data
from resmlp.data import BaseSize, normalise
from resmlp.evaluate import sliding
from resmlp.objectives import Segment


class Labeller:
    """A network that labels each pixel, shown windows, or the whole of a picture, as `card` says."""

    def __init__(self, model: nn.Module, card: SegmenterCard, device: torch.device):
        self.model, self.card, self.device = model.to(device), card, device
        self.preprocessing, self.classes = card.preprocessing, card.classes
        seen = Segment(base_size=card.base_size, stride=card.stride, whole=card.whole)
        p = card.preprocessing
        self.prepare = BaseSize(Data(img_size=card.model.size, interpolation=p.interpolation), seen)
        self.fill = [min(255, max(0, round(255 * mean))) for mean in p.mean]  # 0 when it is normalised

    @property
    def step(self) -> tuple[int, int]:
        """Of the sliding window, in pixels down and across."""
        height, width = (max(1, round(side * self.card.stride)) for side in self.card.model.size)
        return height, width

    def label(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """A picture as `prepare` made it, uint8 3 h w -> classes of a picture of `size`, int16 H W; -1 for none."""
        window, classes = self.card.model.size, self.card.model.num_classes
        return sliding(self._see, image, window, self.step, classes, size=size, fill=self.fill)

    @torch.inference_mode()
    def read(self, picture: Image.Image) -> np.ndarray:
        """An RGB picture -> the class of each pixel, int16 H W; -1 where the network gives nothing finite."""
        height, width = picture.height, picture.width
        prepared: dict[str, Any] = self.prepare((picture, np.zeros((height, width), np.uint8)))
        return self.label(prepared["image"], (height, width)).numpy()

    def _see(self, windows: Tensor) -> Tensor:
        """uint8 B 3 h w -> logits, float32 B K h w"""
        p = self.preprocessing
        return self.model(normalise(windows.to(self.device), p.mean, p.std)).float()
