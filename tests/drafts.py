"""Figures that cost nothing."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image


def draw_drafts(patch: pytest.MonkeyPatch) -> None:
    """Save figures as a white pixel, and draw nothing."""

    def save(figure: Figure, path: Path, format: str, metadata: object) -> None:
        path.write_text("<svg/>") if format == "svg" else Image.new("RGB", (1, 1), "white").save(path, format)

    patch.setattr(Figure, "savefig", save)
    patch.setattr(Figure, "draw_without_rendering", lambda figure: None)
