"""A torch network ready to predict, run by torch or exported to another backend first."""

import weakref
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from resmlp.backends import runtimes
from resmlp.backends.autotune import Autotuned, Engine
from resmlp.backends.pytorch import CompiledEngine, TorchEngine
from resmlp.config.preprocessing import Preprocessing
from resmlp.data import normalize
from resmlp.exporters.formats import FORMATS, check_packages, missing_packages, quiet, write_network
from resmlp.exporters.lowering import lower
from resmlp.hub.resolve import Source
from resmlp.inference.exported import ExportedPredictor, explain_failure
from resmlp.inference.prediction import Classifier, Images, check_classifier
from resmlp.models import Saved, Trunk, TrunkConfig
from resmlp.models.features import Pixels, last_layers
from resmlp.models.folding import fold
from resmlp.utils.checks import demand
from resmlp.utils.devices import find_device
from resmlp.utils.errors import lookup

Run = Callable[[Tensor], Tensor]
"""float32 B 3 H W, normalized -> B K"""


class TorchPredictor(Classifier):
    """A network ready to predict: it brings its own preprocessing and class names."""

    def __init__(self, saved: Saved, device: torch.device, backend: str = "torch"):
        """`backend` is a name of `BACKENDS`, or auto: the fastest of them that is there, by measurement.

        With torch the same images give the very same logits again; with others they differ by rounding, as the
        fastest way is found while they are used.
        """
        self.saved, self.device, self.backend = saved, device, backend
        self.model, self.preprocessing, self.classes = saved.model.to(device).eval(), saved.preprocessing, saved.classes
        self.words, self.trained, self.has_classifier = saved.words, saved.trained, saved.has_classifier
        self._run = runner(self.model, self.preprocessing.size, device, backend)

    def facts(self) -> list[str]:
        """As of `Predictor`."""
        config = getattr(self.model, "config", None)
        name = config.name if isinstance(config, TrunkConfig) else type(self.model).__name__
        number = getattr(config if isinstance(config, TrunkConfig) else self.model, "num_classes", len(self.classes))
        return self._facts(name, number, f"{self.device}" + f", {self.backend}" * (self.backend != "torch"))

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
        return last_layers(self.model, layers)(self._inputs(images)).float().cpu()

    def probabilities(self, images: Images) -> np.ndarray:
        """Of each class, B K."""
        check_classifier(self.saved.has_classifier)
        return self.logits(images).softmax(1).numpy()

    def _inputs(self, images: Images) -> Tensor:
        if not isinstance(images, Tensor):
            images = torch.from_numpy(images if isinstance(images, np.ndarray) else self.pixels(images))
        return normalize(images.to(self.device), self.preprocessing.mean, self.preprocessing.std)


def runner(model: nn.Module, size: tuple[int, int], device: torch.device, backend: str) -> Run:
    """What runs the network. Raises `UserError` for a backend that is not there, or not for this device."""
    lookup("backend", backend, dict.fromkeys([*BACKENDS, "auto"]))
    if backend == "torch":
        return model
    if backend == "auto" and device.type == "cuda":
        return _accelerated(model)
    demand(device.type == "cpu", f"--backend {backend} on {device.type}: it is for a CPU", "--device cpu")
    tuned = Autotuned(make_engines(model, size, backend))
    return lambda images: torch.from_numpy(tuned(images.numpy()))


def make_engines(model: nn.Module, size: tuple[int, int], backend: str) -> list[Engine]:
    """The network by one backend; for auto by each that is installed."""
    if backend != "auto":
        return [BACKENDS[backend](model, size)]
    return [BACKENDS[name](model, size) for name in AUTO if name not in FORMATS or not missing_packages(name)]


def _accelerated(model: nn.Module) -> Run:
    """The fastest way for images like the first."""
    from resmlp.inference.gpu import fastest

    found: list[Run] = []

    def run(images: Tensor) -> Tensor:
        if not found:
            found.append(fastest(model, images))
        return found[0](images)

    return run


def _plain(model: nn.Module, size: tuple[int, int]) -> Engine:
    return TorchEngine(model)


def _folded(model: nn.Module, size: tuple[int, int]) -> Engine:
    return TorchEngine(lower(fold(model)) if isinstance(model, Trunk) else model, "folded")


def _compiled(model: nn.Module, size: tuple[int, int]) -> Engine:
    return CompiledEngine(fold(model) if isinstance(model, Trunk) else model)


def _exported(to: str, model: nn.Module, size: tuple[int, int]) -> Engine:
    """Written to a temporary folder, which exists as long as the engine."""
    check_packages(to, "--backend")
    place = TemporaryDirectory(prefix="resmlp-run-")
    folder = Path(place.name)
    with explain_failure(folder), quiet():
        write_network(model.cpu(), size, to, folder)
    engine = runtimes.open_engine(to, folder)
    weakref.finalize(engine, place.cleanup)
    return engine


BACKENDS: dict[str, Callable[[nn.Module, tuple[int, int]], Engine]] = {
    "torch": _plain,
    "folded": _folded,
    "compile": _compiled,
    "onnx": partial(_exported, "onnx"),
    "openvino": partial(_exported, "openvino"),
}
"""what runs a network for images of its size on a CPU; torch runs it as it is, all others folded where it is ours"""
AUTO = ("folded", "onnx", "openvino")
"""those that need no compiler"""


class Exported(nn.Module):
    """An exported network as one of torch's: what evaluates networks takes it."""

    def __init__(self, graph: ExportedPredictor):
        super().__init__()
        self.graph = graph
        self.num_classes = 0 if graph.config.output == "features" else graph.config.model.num_classes

    def forward(self, images: Tensor) -> Tensor:
        """float32 B 3 H W, normalized -> B K"""
        look = self.graph.preprocessing
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (look.mean, look.std))
        pixels = ((images.cpu() * std + mean) * 255).round_().clamp_(0, 255).to(torch.uint8)
        return torch.from_numpy(self.graph.logits(pixels.numpy())).to(images.device)


def open_exported(model: str | Path | Source) -> Saved:
    """An exported network as a torch module, so that evaluation takes it as any other. Raises `UserError`."""
    graph = ExportedPredictor(model)
    return Saved(Exported(graph).eval(), graph.classes, graph.preprocessing, words=graph.words)


def open_pixels(source: Source) -> Saved:
    """The "network" whose features are the pixels of the whole image, at 32 x 32."""
    return Saved(Pixels().eval(), (), Preprocessing((32, 32), crop_ratio=1.0))


def load_pixels(source: Source, device: str, backend: str | None) -> TorchPredictor:
    """The same, ready to predict."""
    return TorchPredictor(open_pixels(source), find_device(device), backend or "torch")
