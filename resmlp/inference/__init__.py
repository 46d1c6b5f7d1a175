"""A trained network ready to use. Each part is imported at its first use: an exported network needs no torch."""

from typing import TYPE_CHECKING

from resmlp.utils.lazy import lazily

__all__ = [
    "Classifier",
    "Embedding",
    "ExportedPredictor",
    "Prediction",
    "Predictor",
    "Segmentation",
    "SegmentationPredictor",
    "TorchPredictor",
    "Translation",
    "Translator",
    "load",
]

if TYPE_CHECKING:
    from resmlp.inference.exported import ExportedPredictor
    from resmlp.inference.model_kinds import load
    from resmlp.inference.prediction import Classifier, Embedding, Prediction, Predictor
    from resmlp.inference.predictor import TorchPredictor
    from resmlp.inference.segmentation import Segmentation, SegmentationPredictor
    from resmlp.inference.translation import Translation, Translator

__getattr__ = lazily(
    __name__,
    {
        "Classifier": "prediction",
        "Embedding": "prediction",
        "ExportedPredictor": "exported",
        "Prediction": "prediction",
        "Predictor": "prediction",
        "Segmentation": "segmentation",
        "SegmentationPredictor": "segmentation",
        "TorchPredictor": "predictor",
        "Translation": "translation",
        "Translator": "translation",
        "load": "model_kinds",
    },
)
