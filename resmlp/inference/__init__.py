"""A trained network ready to use. Each part is imported at its first use: an exported network needs no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "Classifier": "prediction",
    "Embedding": "prediction",
    "ExportedPredictor": "exported",
    "Prediction": "prediction",
    "Predictor": "prediction",
    "Segmentation": "segmenter",
    "SegmentationPredictor": "segmenter",
    "TorchPredictor": "predictor",
    "Translation": "translator",
    "Translator": "translator",
    "load": "model_kinds",
}

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
    from resmlp.inference.segmenter import Segmentation, SegmentationPredictor
    from resmlp.inference.translator import Translation, Translator


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'resmlp.inference' has no attribute {name!r}")
    return getattr(import_module(f"resmlp.inference.{_PUBLIC[name]}"), name)
