"""A torch network ready to predict, run by torch or exported to another backend first."""

from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from resmlp.config.image_size import Size
from resmlp.config.precision import Execution, Precision, Ran
from resmlp.config.preprocessing import Preprocessing
from resmlp.data import normalize
from resmlp.hub.resolve import Source
from resmlp.inference.exported import ExportedPredictor
from resmlp.inference.prediction import Classifier, Images, check_classifier
from resmlp.inference.runners import autocast, feature_precision, runner
from resmlp.models import Saved, TrunkConfig
from resmlp.models.features import Pixels, last_layers

AS_IS = Execution()


class TorchPredictor(Classifier):
    """A network ready to predict: it brings its own preprocessing and class names."""

    shapes: tuple[Size, ...] = ()
    """the sizes (height, width) of the images that it takes, where there are several"""
    by_torch = True

    def __init__(self, saved: Saved, device: torch.device, execution: Execution = AS_IS):
        """`execution` is as of `resmlp.inference.runners.runner`, on this device."""
        self.saved, self.device, self.execution = saved, device, execution
        self.model, self.preprocessing, self.classes = saved.model.to(device).eval(), saved.preprocessing, saved.classes
        self.words, self.trained, self.has_classifier = saved.words, saved.trained, saved.has_classifier
        self.threshold = saved.threshold
        self._run = runner(self.model, self.preprocessing.size, device, execution)

    def facts(self) -> list[str]:
        """As of `Predictor`."""
        config = getattr(self.model, "config", None)
        name = config.name if isinstance(config, TrunkConfig) else type(self.model).__name__
        number = getattr(config if isinstance(config, TrunkConfig) else self.model, "num_classes", len(self.classes))
        asked = (self.execution.backend, self.execution.precision)
        shown = [word for word in asked if word not in (None, "torch", "fp32")]
        return self._facts(name, number, ", ".join([str(self.device), *map(str, shown)]))

    @property
    def ran(self) -> Ran:
        """What ran the network."""
        return self._run.ran

    def with_crop(self, ratio: float) -> "TorchPredictor":
        """The same network with another evaluation crop (the authors' is 0.9, timm's 0.875)."""
        other = copy(self)  # what runs it is shared
        other.preprocessing = replace(self.preprocessing, crop_ratio=ratio)
        other.saved = replace(self.saved, preprocessing=other.preprocessing)
        return other

    @torch.inference_mode()
    def logits(self, images: Images) -> Tensor:
        """Images, or uint8 B 3 H W of the network's size -> float32 B K on the CPU."""
        return self._run(self._inputs(images)).float().cpu()

    @torch.inference_mode()
    def features(self, images: Images, layers: int = 1) -> Tensor:
        """The same -> float32 B layers*D: what the head sees, or `resmlp.metrics.last_layers`; always by torch."""
        network = last_layers(self.model, layers)
        with autocast(self.device, self.feature_precision):
            return network(self._inputs(images)).float().cpu()

    @cached_property
    def feature_precision(self) -> Precision:
        """Of `features`; found at their first use where several are to be measured."""
        return feature_precision(self.model, self.preprocessing.size, self.device, self.execution)

    def probabilities(self, images: Images) -> np.ndarray:
        """Of each class, B K."""
        check_classifier(self.saved.has_classifier)
        logits = self.logits(images)
        return (logits.softmax(1) if self.threshold is None else logits.sigmoid()).numpy()

    def _inputs(self, images: Images) -> Tensor:
        if not isinstance(images, Tensor):
            images = torch.from_numpy(images if isinstance(images, np.ndarray) else self.pixels(images))
        return normalize(images.to(self.device), self.preprocessing.mean, self.preprocessing.std)


class Exported(nn.Module):
    """An exported network as one of torch's: what evaluates networks takes it."""

    def __init__(self, graph: ExportedPredictor):
        super().__init__()
        self.graph = graph
        self.num_classes = 0 if graph.config.output == "features" else graph.config.model.num_classes

    def forward(self, images: Tensor) -> Tensor:
        """float32 B C H W, normalized -> B K"""
        look = self.graph.preprocessing
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (look.mean, look.std))
        pixels = ((images.cpu() * std + mean) * 255).round_().clamp_(0, 255).to(torch.uint8)
        return torch.from_numpy(self.graph.logits(pixels.numpy())).to(images.device)


def open_exported(model: str | Path | Source, execution: Execution = AS_IS) -> Saved:
    """An exported network as a torch module, so that evaluation takes it as any other. Raises `UserError`."""
    graph = ExportedPredictor(model, execution=execution)
    return Saved(
        Exported(graph).eval(), graph.classes, graph.preprocessing, words=graph.words, threshold=graph.threshold
    )


def open_pixels(source: Source) -> Saved:
    """The "network" whose features are the pixels of the whole image, at 32 x 32."""
    return Saved(Pixels().eval(), (), Preprocessing((32, 32), crop_ratio=1.0))
