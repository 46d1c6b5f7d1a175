"""A network that `resmlp export` has written, ready to predict. Loads no torch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resmlp.backends.autotune import Tuned
from resmlp.backends.runtimes import Precision, open_engine
from resmlp.config.model_config import MODEL_JSON, ExportedModelConfig, read_config
from resmlp.imaging.decode import to_rgb
from resmlp.imaging.frame import frame, to_array
from resmlp.inference.prediction import Namer, check_classifier
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError


class ExportedPredictor(Namer):
    """The files of a folder and the program that runs them, on the CPU."""

    trained = True

    def __init__(self, folder: str | Path, cores: int | None = None, precision: Precision = "fp32"):
        """Raises `UserError` for a folder that holds no export, or one that cannot be run."""
        self.folder = Path(folder)
        self.card = read_config(self.folder / MODEL_JSON, ExportedModelConfig)
        self.preprocessing, self.classes, self.words = self.card.preprocessing, self.card.classes, self.card.words
        for name in self.card.files:
            demand((self.folder / name).is_file(), f"no {name} in {folder}", "it was exported: copy it as well")
        program = f"{folder} is for torch.export.load, whose files may hold any program"
        demand(self.card.to != "torch", program, "export it to onnx or openvino, or give the run folder")
        self.run = Tuned([open_engine(self.card.to, self.folder, cores, precision)])

    def with_crop(self, ratio: float) -> "ExportedPredictor":
        """The same network with another evaluation crop."""
        other = copy(self)  # what runs it is shared
        other.preprocessing = replace(self.preprocessing, crop_ratio=ratio)
        return other

    def outputs(self, images: Sequence[Image.Image] | np.ndarray) -> np.ndarray:
        """Images, or uint8 B 3 H W of the network's size -> B K, whatever the graph gives."""
        pixels = images if isinstance(images, np.ndarray) else self._pixels(images)
        with told(self.folder):
            found = self.run(pixels if self.card.pixels else normalized(pixels, self.preprocessing))
            self._check(found, len(pixels))
        return found

    def _check(self, found: np.ndarray, batch: int) -> None:
        """That it gives what the card says."""
        classes = self.card.model.num_classes
        fits = found.ndim == 2 and len(found) == batch and (self.card.output == "features" or found.shape[1] == classes)
        what = f"{self.folder} gives {found.shape} for {batch} images, and not {classes} classes each"
        demand(fits, what, "was it changed by hand? export it again")

    def logits(self, images: Sequence[Image.Image] | np.ndarray) -> np.ndarray:
        """The same -> float32 B K; of a graph that gives probabilities their logarithms."""
        found = self.outputs(images)
        return np.log(np.maximum(found, np.finfo(np.float32).tiny)) if self.card.output == "probabilities" else found

    def probabilities(self, images: Sequence[Image.Image] | np.ndarray) -> np.ndarray:
        """Of each class, B K."""
        check_classifier(self.card.output != "features")
        found = self.outputs(images)
        return found if self.card.output == "probabilities" else softmax(found)

    def _pixels(self, images: Sequence[Image.Image]) -> np.ndarray:
        return np.stack([to_array(frame(to_rgb(image), self.preprocessing)) for image in images])


def normalized(pixels: np.ndarray, preprocessing: Any) -> np.ndarray:
    """uint8 B 3 H W -> float32 B 3 H W, as `resmlp.data.normalize` has it."""
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    images = pixels.astype(np.float32)
    images *= 1 / (255 * std)
    images -= mean / std
    return images


def softmax(logits: np.ndarray) -> np.ndarray:
    """B K -> B K"""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """Say in one line what a program cannot run: nothing tells a broken file from a fault of the program's."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"cannot run {folder}: {reason}", "is it whole? export it again") from error
