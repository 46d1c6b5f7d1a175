"""Images whose class is their color."""

from pathlib import Path

import numpy as np
from PIL import Image

COLORS = {"blue": (30, 40, 200), "green": (20, 180, 60), "red": (210, 30, 30)}


def color(name: str, seed: int, size: tuple[int, int] = (16, 16)) -> Image.Image:
    """A noisy image of a class; `size` is (width, height)."""
    rng = np.random.default_rng(seed)
    pixels = np.array(COLORS[name]) + rng.integers(-25, 26, (size[1], size[0], 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def plant(root: Path, classes=tuple(COLORS), count: int = 12, seed: int = 0) -> Path:
    """A folder of `count` images for each of the classes."""
    for name in classes:
        (root / name).mkdir(parents=True)
        for i in range(count):
            color(name, seed + i).save(root / name / f"{i:02}.png")
    return root
