"""The sliding window for a network in torch: logits stay on its device."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from resmlp.inference.sliding_window import Between, SlidingWindow


class TorchSlidingWindow(SlidingWindow[Tensor]):
    """Logits are tensors."""

    def zeros(self, like: Tensor, *shape: int) -> Tensor:
        """As of `SlidingWindow`."""
        return like.new_zeros(shape)

    def divide(self, logits: Tensor, counts: np.ndarray) -> Tensor:
        """As of `SlidingWindow`."""
        return logits.div_(torch.from_numpy(counts).to(logits.device))

    def likeliest(self, logits: Tensor) -> np.ndarray:
        """As of `SlidingWindow`."""
        most, index = logits.max(0)
        return index.masked_fill_(~most.isfinite(), -1).to(torch.int16).cpu().numpy()

    def resize(self, logits: Tensor, rows: Between, width: int) -> Tensor:
        """As of `SlidingWindow`."""
        above, below, weight = (
            torch.from_numpy(each).to(logits.device) for each in (rows.first, rows.second, rows.weight)
        )
        lines = logits[:, above].lerp(logits[:, below], weight[:, None])  # K rows w
        return F.interpolate(lines[None], (len(above), width), mode="bilinear", align_corners=False)[0]
