"""Many views of one image (SwAV's multi-crop, with BYOL's colors): what DINO's student and teacher look at.

Probabilities, strengths and their order are those of DINO's published training script. V views of a kind, all of the
same size. Randomness comes from torch's global generator, which the loader seeds for each image.
"""

import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from resmlp.config import Data
from resmlp.config.tasks import Dino

JITTER = (0.4, 0.4, 0.2, 0.1)  # brightness, contrast, saturation, hue


class Blur:
    """Gaussian blur of an image, by a random radius from 0.1 to `most` pixels."""

    def __init__(self, most: float):
        self.most = most

    def __call__(self, image: Image.Image) -> Image.Image:
        """PIL -> PIL"""
        low = min(0.1, self.most)
        return image.filter(ImageFilter.GaussianBlur(low + (self.most - low) * torch.rand(()).item()))


class MultiCrop:
    """PIL RGB -> {"global": uint8 2 3 H W, "local": uint8 V 3 h w}, without "local" where there are no local views.

    A view is a random part of the image at one size, perhaps flipped, its colors changed, gray or blurred; the
    second global one is seldom blurred, and now and then solarized. Images smaller than a view are enlarged.
    """

    def __init__(self, data: Data, task: Dino):
        height, width = task.local_size[0], task.local_size[-1]
        how = InterpolationMode(data.preprocessing().interpolation)
        large = transforms.RandomResizedCrop(data.size, task.global_scale, interpolation=how)
        small = transforms.RandomResizedCrop((height, width), task.local_scale, interpolation=how)
        solarize = transforms.RandomSolarize(threshold=128, p=0.2)
        self.views = {"global": (view(large, task.blur, 1.0), view(large, task.blur, 0.1, solarize))}
        if task.local_crops != "none" and task.local_views:
            self.views["local"] = (view(small, task.blur, 0.5),) * task.local_views

    def __call__(self, image: Image.Image) -> dict[str, Tensor]:
        """All views of an image."""
        return {kind: torch.stack([make(image) for make in views]) for kind, views in self.views.items()}


def view(crop: transforms.RandomResizedCrop, blur: float, blurred: float, *last) -> transforms.Compose:
    """PIL RGB -> uint8 3 H W: crop, flip, jitter, gray, `last`; before it, `blurred` is the probability of blur."""
    steps = [
        crop,
        transforms.RandomHorizontalFlip(0.5),
        transforms.RandomApply([transforms.ColorJitter(*JITTER)], p=0.8),
        transforms.RandomGrayscale(0.2),
    ]
    if blur:
        steps.append(transforms.RandomApply([Blur(blur)], p=blurred))
    return transforms.Compose([*steps, *last, transforms.PILToTensor()])
