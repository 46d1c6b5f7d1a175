"""`resmlp inspect`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from resmlp.cli.base import Device, ImgSize, Verb, print_text
from resmlp.config.help import MANY, default_if_any


@dataclass(frozen=True, kw_only=True)
class Inspect(Verb):
    """figures of the layers of a network: filters, sparsity, receptive fields; an interactive report.html"""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """a run folder, a weight file, a name of `resmlp list weights`, or hf-hub:ORG/NAME"""
    out: Path | None = None
    """output folder; default inspect/ in a run folder, else inspect/NAME"""
    layers: Annotated[tuple[int, ...], MANY] = ()
    """numbers of the layers to draw, from 0; default first, quarter, half, three quarters and last"""
    threshold: float = 0.05
    """a weight is small below this share of the largest magnitude of its matrix"""
    images: Annotated[tuple[str, ...], arg(metavar="FILE...", help_behavior_hint=default_if_any)] = ()
    """images, or folders of images, for the receptive fields; default noise"""
    img_size: ImgSize = None
    device: Device = "auto"

    def run(self) -> dict[str, Any]:
        """Write figures, inspect.json and report.html."""
        from resmlp.analysis.layers.inspection import inspect
        from resmlp.inference.prediction import warn_untrained

        result = inspect(
            self.model,
            self.out,
            layers=self.layers,
            threshold=self.threshold,
            images=self.images,
            device=self.device,
            img_size=self.img_size,
        )
        warn_untrained(self.model, result.trained)
        if not self.json:
            print_text(result)
        return result.to_dict()
