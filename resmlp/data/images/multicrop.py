"""Several views of one image for DINO's student and teacher: SwAV's multi-crop with BYOL's color changes.

Probabilities, strengths and their order are those of DINO's published training script. V is the number of local views.
The random numbers come from torch's global generator, which the loader seeds for each image.
"""

from typing import Any

import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from resmlp.config import Data
from resmlp.config.tasks import Dino

JITTER = (0.4, 0.4, 0.2, 0.1)  # brightness, contrast, saturation, hue


class Blur:
    """Gaussian blur of an image, with a random radius from 0.1 to `max_radius` pixels."""

    def __init__(self, max_radius: float):
        self.max_radius = max_radius

    def __call__(self, image: Image.Image) -> Image.Image:
        """Blur a PIL image."""
        low = min(0.1, self.max_radius)
        return image.filter(ImageFilter.GaussianBlur(low + (self.max_radius - low) * torch.rand(()).item()))


class MultiCrop:
    """PIL RGB -> {"global": uint8 2 3 H W, "local": uint8 V 3 h w}, without "local" if there are no local views.

    A view is a random resized crop, randomly flipped, color-jittered, made gray and blurred. The second global view is
    blurred with probability 0.1 and solarized with probability 0.2. Images smaller than a view are enlarged.
    """

    def __init__(self, data: Data, task: Dino):
        interpolation = InterpolationMode(data.preprocessing().interpolation)
        large = transforms.RandomResizedCrop(data.size, task.global_scale, interpolation=interpolation)
        solarize = transforms.RandomSolarize(threshold=128, p=0.2)
        self.views = {"global": (view(large, task.blur, 1.0), view(large, task.blur, 0.1, solarize))}
        if task.has_local:
            small = transforms.RandomResizedCrop(task.local_shape, task.local_scale, interpolation=interpolation)
            self.views["local"] = (view(small, task.blur, 0.5),) * task.local_views

    def __call__(self, image: Image.Image) -> dict[str, Tensor]:
        """All views of an image."""
        return {kind: torch.stack([make(image) for make in views]) for kind, views in self.views.items()}


def view(crop: transforms.RandomResizedCrop, blur: float, blurred: float, *last: Any) -> transforms.Compose:
    """PIL RGB -> uint8 3 H W: crop, flip, jitter, gray, blur with probability `blurred`, then the steps `last`."""
    steps = [
        crop,
        transforms.RandomHorizontalFlip(0.5),
        transforms.RandomApply([transforms.ColorJitter(*JITTER)], p=0.8),
        transforms.RandomGrayscale(0.2),
    ]
    if blur:
        steps.append(transforms.RandomApply([Blur(blur)], p=blurred))
    return transforms.Compose([*steps, *last, transforms.PILToTensor()])
