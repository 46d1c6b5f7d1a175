"""A network that `resmlp export` has written, ready to predict. Loads no torch."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resmlp.backends.autotune import Autotuned
from resmlp.backends.runtimes import open_engine
from resmlp.config.export_sizes import graph_name, sizes_of
from resmlp.config.image_size import NATIVE, Size, shown
from resmlp.config.model_json import ExportedModelConfig
from resmlp.config.precision import Execution, Ran
from resmlp.config.preprocessing import LUMA
from resmlp.hub.resolve import Source, resolve
from resmlp.inference.exported_folder import explain_failure, exported_precision, open_folder
from resmlp.inference.prediction import Classifier, check_classifier
from resmlp.utils.checks import demand
from resmlp.utils.hardware import instruction_set

AS_EXPORTED = Execution()


class ExportedPredictor(Classifier):
    """The files of an exported folder and the program that runs them, on the CPU."""

    def __init__(self, model: str | Path | Source, cores: int | None = None, execution: Execution = AS_EXPORTED):
        """Raises `UserError` for a folder that holds no export, or one that cannot be run in this precision."""
        self.folder, self.config = open_folder(resolve(model), ExportedModelConfig)
        self.has_classifier = self.config.output != "features"
        size = self.config.model.size if execution.size in (None, NATIVE) else execution.size
        own = self.config.preprocessing
        self.preprocessing = own if size == self.config.model.size else replace(own, size=size)
        self.classes, self.words = self.config.classes, self.config.words
        self.threshold = self.config.threshold
        self._open = partial(
            open_engine, self.config.to, self.folder, cores, exported_precision(self.config, execution)
        )
        self.runs: dict[Size, Autotuned] = {}
        self.run = self.at(size)

    def at(self, size: Size) -> Autotuned:
        """What runs images of a size (height, width), opened at its first use. Raises `UserError` for another size."""
        if size not in self.runs:
            sizes = sizes_of(self.config)
            what = f"images of {shown(size)} for an export for {' and '.join(map(shown, sizes))}"
            demand(size in sizes, what, "resize them, or export the network for this size")
            self.runs[size] = Autotuned([self._open(graph_name(self.config, size))])
        return self.runs[size]

    def facts(self) -> list[str]:
        """As of `Predictor`."""
        network = self.config.model
        (engine,) = self.run.engines
        how = ", ".join(["cpu", self.config.to, *[engine.precision] * (engine.precision != "fp32")])
        return self._facts(network.name, network.num_classes, how)

    @property
    def ran(self) -> Ran:
        """What runs it."""
        (engine,) = self.run.engines
        return Ran(engine.name, engine.precision, instruction_set(engine.precision))

    def with_crop(self, ratio: float) -> "ExportedPredictor":
        """The same network with another evaluation crop."""
        other = copy(self)  # what runs it is shared
        other.preprocessing = replace(self.preprocessing, crop_ratio=ratio)
        return other

    def outputs(self, images: Sequence[Image.Image] | np.ndarray) -> np.ndarray:
        """Images, or uint8 B 3 H W of a size of the export -> B K, whatever the graph gives."""
        pixels = images if isinstance(images, np.ndarray) else self.pixels(images)
        pixels = to_gray(pixels) if self.config.model.architecture.in_chans == 1 else pixels
        with explain_failure(self.folder):
            run = self.at(pixels.shape[-2:]) if self.config.sizes else self.run
            found = run(pixels if self.config.pixels else normalized(pixels, self.preprocessing))
        self._check(found, len(pixels))
        return found

    def _check(self, found: np.ndarray, batch: int) -> None:
        """That it gives what the config says."""
        classes = self.config.model.num_classes
        fits = (
            found.ndim == 2 and len(found) == batch and (self.config.output == "features" or found.shape[1] == classes)
        )
        what = f"{self.folder} gives {found.shape} for {batch} images, and not {classes} classes each"
        demand(fits, what, "was it changed by hand? export it again")

    def logits(self, images: Sequence[Image.Image] | np.ndarray) -> np.ndarray:
        """The same -> float32 B K; of a graph that gives probabilities what softmax (or sigmoid) turns into them."""
        found = self.outputs(images)
        if self.config.output != "probabilities":
            return found
        logits = np.log(np.maximum(found, np.finfo(np.float32).tiny))
        absent = np.maximum(1 - found, np.finfo(np.float32).eps)
        return logits if self.threshold is None else logits - np.log(absent)

    def probabilities(self, images: Sequence[Image.Image] | np.ndarray) -> np.ndarray:
        """Of each class, B K."""
        check_classifier(self.config.output != "features")
        found = self.outputs(images)
        if self.config.output == "probabilities":
            return found
        return softmax(found) if self.threshold is None else sigmoid(found)


def normalized(pixels: np.ndarray, preprocessing: Any) -> np.ndarray:
    """uint8 B 3 H W -> float32 B C H W with the channels of the network, as `resmlp.data.normalize` has it."""
    pixels = channels_of(pixels, preprocessing)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    images = pixels.astype(np.float32)
    images *= 1 / (255 * std)
    images -= mean / std
    return images


def channels_of(pixels: np.ndarray, preprocessing: Any) -> np.ndarray:
    """uint8 B 3 H W -> uint8 B C H W with the channels of the network."""
    return to_gray(pixels) if len(preprocessing.mean) == 1 else pixels


def to_gray(pixels: np.ndarray) -> np.ndarray:
    """uint8 B 3 H W -> uint8 B 1 H W, as Pillow converts; gray images B 1 H W are returned as they are."""
    if pixels.shape[1] == 1:
        return pixels
    red, green, blue = (pixels[:, channel].astype(np.int32) for channel in range(3))
    return ((LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue + 2**15) >> 16).astype(np.uint8)[:, None]


def softmax(logits: np.ndarray) -> np.ndarray:
    """B K -> B K"""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """B K -> B K"""
    return (1 + np.tanh(logits / 2)) / 2  # which does not overflow
