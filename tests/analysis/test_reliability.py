"""The reliability diagram has the colors of what it shows."""

import numpy as np
import pytest
import torch
from PIL import Image

from resmlp.analysis.reliability import reliability_diagram
from resmlp.metrics import reliability

BLUE, ORANGE = (0x00, 0x72, 0xB2), (0xC9, 0x50, 0x0A)


def share_of(path, color) -> float:
    """The share of pixels that are near `color`."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    return float((np.abs(pixels - color).max(-1) < 8).mean())


@pytest.mark.parametrize("right", [0.0, 0.6, 1.0])
def test_bars_reach_to_the_accuracy(tmp_path, right):
    probability = torch.linspace(0.05, 0.99, 600)
    hits = torch.arange(600) % 10 < 10 * right
    reliability_diagram(reliability(probability, hits), tmp_path / "r.png")
    assert share_of(tmp_path / "r.png", BLUE) == pytest.approx(0.47 * right, abs=0.05)
    over = tuple(round(255 - 0.45 * (255 - channel)) for channel in ORANGE)
    assert (share_of(tmp_path / "r.png", over) > 0.02) == (right < 1)


def test_without_images(tmp_path):
    reliability_diagram(reliability(torch.zeros(0), torch.zeros(0, dtype=torch.bool)), tmp_path / "r.png")
    assert share_of(tmp_path / "r.png", BLUE) == 0
