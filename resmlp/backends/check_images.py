"""Random images on which precisions are compared: smooth, with some noise; the same at each call. Loads no torch."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from resmlp.config.precision import CHECKED

BATCH = 32
"""images at a time"""
COARSE = 6
"""points along a side, between which a smooth image is interpolated"""


def check_pixels(size: tuple[int, int], channels: int = 3) -> Iterator[np.ndarray]:
    """Batches uint8 B C H W."""
    for images in check_images(size, channels):
        yield np.clip(np.rint(64 * images + 128), 0, 255).astype(np.uint8)


def check_images(size: tuple[int, int], channels: int = 3) -> Iterator[np.ndarray]:
    """Batches float32 B C H W with the mean 0 and a deviation near 1, as normalized images."""
    rng = np.random.default_rng(0)
    for _ in range(CHECKED // BATCH):
        coarse = rng.standard_normal((BATCH * channels, COARSE, COARSE), np.float32)
        smooth = [np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.BICUBIC)) for plane in coarse]
        images = np.stack(smooth).reshape(BATCH, channels, *size)
        yield images + 0.2 * rng.standard_normal(images.shape, np.float32)
