"""From pictures to named predictions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from resmlp.data import eval_transform, normalise
from resmlp.errors import UserError, did_you_mean
from resmlp.evaluate import last_layers
from resmlp.imaging.decode import to_rgb
from resmlp.imaging.pictures import File
from resmlp.models import Saved, open_model


@dataclass(frozen=True)
class Prediction:
    """The likeliest classes of one picture, best first, with their probabilities."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]


class Predictor:
    """A network ready to predict: it brings its own preprocessing and class names."""

    def __init__(self, saved: Saved, device: torch.device):
        self.saved, self.device = saved, device
        self.model, self.preprocessing, self.classes = saved.model.to(device).eval(), saved.preprocessing, saved.classes
        self._transform = eval_transform(saved.preprocessing)

    def with_crop(self, ratio: float) -> "Predictor":
        """The same network with another evaluation crop (the authors' is 0.9, timm's 0.875)."""
        return Predictor(replace(self.saved, preprocessing=replace(self.preprocessing, crop_ratio=ratio)), self.device)

    @torch.inference_mode()
    def logits(self, images: Sequence[Image.Image] | Tensor) -> Tensor:
        """Pictures, or uint8 B 3 H W of the network's size -> float32 B K on the CPU."""
        return self.model(self._inputs(images)).float().cpu()

    @torch.inference_mode()
    def features(self, images: Sequence[Image.Image] | Tensor, layers: int = 1) -> Tensor:
        """The same -> float32 B layers*D: what the head sees, or `resmlp.evaluate.last_layers`."""
        return last_layers(self.model, layers)(self._inputs(images)).float().cpu()

    def _inputs(self, images: Sequence[Image.Image] | Tensor) -> Tensor:
        if not isinstance(images, Tensor):
            images = torch.stack([self._transform(to_rgb(image)) for image in images])
        return normalise(images.to(self.device), self.preprocessing.mean, self.preprocessing.std)

    def rank(self, images: Sequence[Image.Image] | Tensor, top: int = 5) -> list[Prediction]:
        """The `top` likeliest classes of each picture. Raises `UserError` for a network without a classifier."""
        if not self.saved.has_classifier:
            raise UserError(
                "the model has no classifier, its output is features", "resmlp train probe or finetune gives it one"
            )
        probabilities = self.logits(images).softmax(1)
        values, indices = probabilities.topk(min(top, probabilities.shape[1]))
        return [
            Prediction(tuple(self.label(i) for i in index), tuple(value))
            for value, index in zip(values.tolist(), indices.tolist())
        ]

    def predict(self, *files: str | Path, top: int = 5) -> list[Prediction]:
        """What is in these files. Raises `UserError` naming the first that cannot be read."""
        return self.rank([File(str(file)).read() for file in files], top) if files else []

    def label(self, index: int) -> str:
        """The name of a class, in words where there are some; its number where names are unknown."""
        names = self.saved.words or self.classes
        return names[index] if names else str(index)


def find_device(name: str) -> torch.device:
    """`auto`: the accelerator there is, else the CPU. Raises `UserError` for one that is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, found in there.items() if found)
    if name not in there:
        raise UserError(f"unknown device {name!r}", did_you_mean(name, [*there, "auto"]))
    if not there[name]:
        raise UserError(f"device {name}: there is none here", "use auto or cpu")
    return torch.device(name)


def load(path: str | Path, device: str = "auto") -> Predictor:
    """A run folder, a model file or any other MODEL of the command line, ready to predict."""
    return Predictor(open_model(str(path)), find_device(device))
