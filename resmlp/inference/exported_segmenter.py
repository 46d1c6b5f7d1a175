"""A segmenter that `resmlp export` has written, ready to predict. Loads no torch."""

import numpy as np

from resmlp.backends.autotune import Autotuned
from resmlp.backends.runtimes import open_engine
from resmlp.config.model_json import ExportedSegmenterConfig
from resmlp.config.precision import Execution
from resmlp.hub.resolve import Source
from resmlp.inference.exported import channels_of, normalized
from resmlp.inference.exported_folder import check_execution, explain_failure, exported_precision, open_folder
from resmlp.inference.segmentation import SegmentationPredictor, Size
from resmlp.inference.sliding_window import NumpySlidingWindow
from resmlp.utils.checks import demand


class ExportedSegmentationPredictor(SegmentationPredictor):
    """The files of an exported folder and the program that runs them, on the CPU."""

    def __init__(self, source: Source, execution: Execution):
        """Raises `UserError` for a folder that holds no such export, or one that cannot be run in this precision."""
        self.folder, self.exported = open_folder(source, ExportedSegmenterConfig)
        self.config = self.exported.segmenter
        self.preprocessing, self.classes = self.config.preprocessing, self.config.classes
        self.precision = exported_precision(self.exported, execution)
        self.run = Autotuned([open_engine(self.exported.to, self.folder, precision=self.precision)])

    def facts(self) -> list[str]:
        """As of `Predictor`."""
        return self._facts("cpu", self.exported.to, *[self.precision] * (self.precision != "fp32"))

    def sliding_window(self, size: Size) -> NumpySlidingWindow:
        """As of `SegmentationPredictor`. The graph that sees whole images is for those of one size."""
        window = self.config.model.size
        step = window if self.config.whole else self.step
        if self.config.whole:
            side = self.exported.patch
            whole = tuple(-(-own // side) * side for own in size)
            what = "{} is for whole images of {}x{}, and one is of {}x{}".format(self.folder, *window, *size)
            demand(whole == window, what, "export it with --img-size of this one, or train with sliding windows")
        return NumpySlidingWindow(self._see, window, step, self.config.model.num_classes, self.fill)

    def _see(self, windows: np.ndarray) -> np.ndarray:
        """uint8 B 3 h w -> logits, float32 B K h w"""
        with explain_failure(self.folder):
            images = channels_of if self.exported.pixels else normalized
            logits = self.run(images(windows, self.preprocessing))
        expected = (len(windows), self.config.model.num_classes, *self.config.model.size)
        what = f"{self.folder} gives {logits.shape}, and not {expected}"
        demand(logits.shape == expected, what, "was it changed by hand? export it again")
        return logits


def load_exported_segmenter(source: Source, execution: Execution) -> ExportedSegmentationPredictor:
    """An exported segmenter ready to predict, in the precision of the export unless another one is asked for."""
    check_execution(source, execution)
    return ExportedSegmentationPredictor(source, execution)
