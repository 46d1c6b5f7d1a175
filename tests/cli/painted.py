"""A small set of images whose pixels have labels: squares in the colors of their classes, in parts."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("ground", "red", "blue")
COLORS = ((90, 90, 90), (200, 30, 30), (30, 30, 200))
PARTS = {"train": 24, "val": 4, "test": 3}
IGNORED = 255


def painted(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """RGB H W 3 and labels H W: a red and a blue square on gray; a line at the top counts for nothing."""
    labels = np.zeros((height, width), np.uint8)
    for label in (1, 2):
        side = int(rng.integers(8, 14))
        top, left = (int(rng.integers(0, full - side)) for full in (height, width))
        labels[top : top + side, left : left + side] = label
    pixels = np.array(COLORS)[labels] + rng.normal(0, 8, (height, width, 3))
    labels[0] = IGNORED
    return pixels.clip(0, 255).astype(np.uint8), labels


def plant(root: Path, classes: tuple[str, ...] = CLASSES) -> Path:
    """images/PART/N.png, labels/PART/N.png and classes.txt below `root`."""
    for seed, (part, count) in enumerate(PARTS.items()):
        rng = np.random.default_rng(seed)
        for kind in ("images", "labels"):
            (root / kind / part).mkdir(parents=True)
        for i in range(count):
            pixels, labels = painted(rng, 24 + 5 * (i % 3), 40)
            Image.fromarray(pixels).save(root / "images" / part / f"{i}.png")
            Image.fromarray(labels).save(root / "labels" / part / f"{i}.png")
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in classes))
    return root
