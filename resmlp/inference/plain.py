"""A packaged classifier by NumPy, ready to predict. Loads no torch: it answers at once, where torch takes seconds."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from resmlp.backends.numpy_trunk import Layer, NumpyTrunk, is_plain, read_state
from resmlp.config.model_json import ModelConfig
from resmlp.config.precision import Execution, Ran
from resmlp.hub.names import PACKAGED
from resmlp.hub.resolve import Source
from resmlp.inference.exported import normalized, softmax
from resmlp.inference.prediction import Classifier
from resmlp.utils.hardware import instruction_set


def is_for_numpy(source: Source, execution: Execution) -> bool:
    """Whether NumPy runs this MODEL: a packaged ResMLP, where nothing else is asked for."""
    usual = (
        execution.backend is None
        and execution.size is None
        and execution.device in ("auto", "cpu")
        and (execution.precision in (None, "fp32") or (execution.precision == "auto" and execution.few))
    )
    config = source.config
    plain = isinstance(config, ModelConfig) and config.threshold is None and is_plain(config.model.architecture)
    return usual and plain and source.name.startswith(PACKAGED)


class PlainClassifier(Classifier):
    """A network for which `is_for_numpy` holds."""

    has_classifier = True
    words = ()

    def __init__(self, source: Source):
        config = source.expect(ModelConfig)
        assert config is not None
        self.source, self.trunk = source, NumpyTrunk(config.model, read_state(source.file))
        self.preprocessing, self.classes, self.threshold = config.preprocessing, config.classes, None

    def facts(self) -> list[str]:
        """As of `Predictor`."""
        return self._facts(self.trunk.config.name, self.trunk.config.num_classes, "cpu, numpy")

    @property
    def ran(self) -> Ran:
        """What runs it."""
        return Ran("numpy", "fp32", instruction_set("fp32"))

    def layers(self) -> list[Layer]:
        """What its layers mix patches with."""
        return self.trunk.layers()

    def logits(self, images: Sequence[Image.Image] | np.ndarray) -> np.ndarray:
        """Images, or uint8 B 3 H W of the network's size -> float32 B K"""
        return self.trunk.logits(self._inputs(images))

    def features(self, images: Sequence[Image.Image] | np.ndarray) -> np.ndarray:
        """The same -> float32 B D: what the head sees"""
        return self.trunk.features(self._inputs(images))

    def probabilities(self, images: Sequence[Image.Image] | np.ndarray) -> np.ndarray:
        """Of each class, B K."""
        return softmax(self.logits(images))

    def _inputs(self, images: Sequence[Image.Image] | np.ndarray) -> np.ndarray:
        pixels = images if isinstance(images, np.ndarray) else self.pixels(images)
        return normalized(pixels, self.preprocessing)
