"""What graphs of images have in common: normalization within the graph, and the images of the comparison with torch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp.config.preprocessing import Preprocessing
from resmlp.data import eval_transform
from resmlp.imaging.image_file import File


class Normalize(nn.Module):
    """`resmlp.data.normalize` with the mean and the std as constants of the graph."""

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing):
        super().__init__()
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing.std).view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 B 3 H W -> float32 B 3 H W"""
        return (pixels.float() / 255 - self.mean) / self.std


def probes(size: tuple[int, int], images: Tensor | None = None) -> list[Tensor]:
    """Batches uint8 B 3 H W for the comparison: one image of noise, three smooth images, and `images` (P 3 H W)."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (1, 3, *size), generator=generator, dtype=torch.uint8)
    coarse = torch.rand(3, 3, 4, 4, generator=generator) * 255
    smooth = F.interpolate(coarse, size, mode="bicubic", align_corners=False).clamp(0, 255).to(torch.uint8)
    return [noise, smooth] if images is None else [noise, smooth, *images.split(4)]


def read_images(files: list[str], preprocessing: Preprocessing) -> Tensor:
    """uint8 P 3 H W, resized and cropped for the network. Raises `UserError` for the first unreadable file."""
    transform = eval_transform(preprocessing)
    return torch.stack([transform(File(file, preprocessing.decoding).read()) for file in files])
