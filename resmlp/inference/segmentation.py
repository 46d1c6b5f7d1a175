"""What labels each pixel of an image, whatever runs the network. Loads no torch."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from resmlp.config.model_json import SegmenterModelConfig
from resmlp.imaging.fit_size import fit_size, fitted
from resmlp.inference.prediction import ImagePredictor
from resmlp.inference.sliding_window import SlidingWindow
from resmlp.utils.checks import demand, demand_finite
from resmlp.utils.errors import counted

Size = tuple[int, int]
"""height and width"""
MAX_LOGITS = 2**32
"""bytes of the logits of an image that is resized: they are held together"""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The class of each pixel of one image."""

    labels: np.ndarray
    """int16 H W; -1 where the network gives nothing finite"""
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...] = ()
    """a color for each class; empty where the data has none"""

    def shares(self) -> dict[str, float]:
        """The share of the pixels of each class that occurs, largest first."""
        counts = np.bincount(self.labels[self.labels >= 0].ravel(), minlength=len(self.classes))
        order = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i]]
        return {self.classes[i]: float(counts[i] / self.labels.size) for i in order}

    def to_dict(self) -> dict[str, Any]:
        """`{"shares": {class: share of the pixels}}`."""
        return {"shares": self.shares()}

    def __str__(self) -> str:
        return ", ".join(f"{name} {share:.3f}" for name, share in self.shares().items())


class Example(NamedTuple):
    """An image of H x W pixels, and what is predicted of each."""

    name: str
    image: Image.Image
    """RGB"""
    ground_truth: np.ndarray
    """uint8 H W, 255 where it counts for nothing"""
    predicted: np.ndarray
    """int16 H W, -1 for nothing"""


class SegmentationPredictor(ImagePredictor):
    """A network that labels each pixel, shown windows, or all of an image at once, as `config` says.

    To see all of an image it is brought to whole patches by `fill` below and on the right.
    """

    batch_size = 1
    config: SegmenterModelConfig
    classes: tuple[str, ...]

    @property
    def step(self) -> Size:
        """Of the sliding window, in pixels down and across."""
        height, width = (max(1, round(side * self.config.stride)) for side in self.config.model.size)
        return height, width

    @property
    def fill(self) -> list[int]:
        """The color around an image that is smaller than the window: 0 when it is normalized."""
        return [min(255, max(0, round(255 * mean))) for mean in self.config.preprocessing.rgb_mean]

    @abstractmethod
    def sliding_window(self, size: Size) -> SlidingWindow[Any]:
        """What labels an image of `size`, as `prepare` makes it. Raises `UserError` for one it cannot label."""

    def label(self, image: Any, size: Size) -> np.ndarray:
        """An image as `prepare` made it, uint8 3 h w -> classes of an image of `size`, int16 H W; -1 for none.

        Raises `UserError` for a network that is to be moved to the image's size and cannot be.
        """
        pixels = np.asarray(image)
        return self.sliding_window((pixels.shape[1], pixels.shape[2])).label(pixels, size)

    def keep(self, image: Image.Image) -> Image.Image:
        """The image itself: its windows are cut while the network runs."""
        return image

    def results(self, kept: Sequence[Image.Image]) -> list[Segmentation]:
        """The `Segmentation` of each RGB image."""
        labels = [self.read(image) for image in kept]
        demand_finite(all((each >= 0).all() for each in labels))
        return [Segmentation(each, self.classes, self.config.palette) for each in labels]

    def read(self, image: Image.Image) -> np.ndarray:
        """An RGB image -> the class of each pixel, int16 H W; -1 where the network gives nothing finite."""
        problem = self.size_problem((image.height, image.width))
        demand(not problem, problem, "cut it into parts")
        return self.label(self.prepare(image), (image.height, image.width))

    def prepare(self, image: Image.Image) -> np.ndarray:
        """The image as the network sees it, uint8 3 h w."""
        return fitted(image, self.config.base_size, self.config.preprocessing.interpolation)

    def size_problem(self, size: Size) -> str:
        """Why the logits of an image of this size, resized as the network sees it, do not fit into memory, or ""."""
        resized = fit_size(size, self.config.base_size)
        large = 4 * self.config.model.num_classes * resized[0] * resized[1] > MAX_LOGITS
        what = "an image of {} x {} pixels becomes one of {} x {}".format(*size[::-1], *resized[::-1])
        return f"{what} for the network, too large for memory" if resized != size and large else ""

    def _facts(self, *how: str) -> list[str]:
        network, (height, width) = self.config.model, self.config.model.size
        name = network.trunk.name if network.trunk else f"timm:{network.backbone}"
        return [f"{name} with UPerNet", f"{height}x{width}", counted(network.num_classes, "class"), *how]
