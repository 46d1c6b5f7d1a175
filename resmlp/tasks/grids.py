"""Many grids: the size of the images of a step, as a function of (seed, step), and the images resized to it.

The images are loaded at the largest size, and resized where the network is.
"""

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from resmlp.config import Data
from resmlp.models.resize import Size
from resmlp.utils.seeding import derive

GRID = 0x677264
"""the stream of random numbers that draws grids"""


class Grids:
    """The sizes of the training images in the steps of a run; one size without `data.grids`."""

    def __init__(self, data: Data, patch: int, seed: int, steps: int):
        shapes = data.shapes or [(data.size[0] // patch, data.size[1] // patch)]
        self.sizes: list[Size] = [(rows * patch, columns * patch) for rows, columns in shapes]
        self.rising, self.seed, self.steps = data.grid_order == "rising", seed, steps
        self.largest = tuple(max(side) for side in zip(*self.sizes)) if data.grids else data.size

    def loaded(self, data: Data) -> Data:
        """The same data with images of the largest size."""
        return replace(data, img_size=self.largest)

    def size(self, step: int) -> Size:
        """The height and width of the images in this step."""
        count = len(self.sizes)
        if self.rising:
            return self.sizes[min(step * count // self.steps, count - 1)]
        return self.sizes[derive(self.seed, step, GRID) % count]

    def resized(self, images: Tensor, step: int) -> Tensor:
        """float B 3 H W of the largest size -> B 3 h w of this step's."""
        return resized(images, self.size(step))


def resized(images: Tensor, size: Size) -> Tensor:
    """float B 3 H W -> B 3 h w, bicubic and antialiased: the central part with the aspect ratio of `size`."""
    if images.shape[-2:] == size:
        return images
    scale = min(whole / side for whole, side in zip(images.shape[-2:], size))
    height, width = (round(scale * side) for side in size)
    top, left = (images.shape[-2] - height) // 2, (images.shape[-1] - width) // 2
    part = images[..., top : top + height, left : left + width]
    return F.interpolate(part, size, mode="bicubic", antialias=True)
