"""Using a trained network. Each part is loaded when it is first asked for: an exported network needs no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "ExportedPredictor": "exported",
    "Prediction": "prediction",
    "Predictor": "predictor",
    "Translation": "translator",
    "Translator": "translator",
    "load": "load",
    "load_translator": "translator",
}

__all__ = ["ExportedPredictor", "Prediction", "Predictor", "Translation", "Translator", "load", "load_translator"]

if TYPE_CHECKING:
    from resmlp.inference.exported import ExportedPredictor
    from resmlp.inference.load import load
    from resmlp.inference.prediction import Prediction
    from resmlp.inference.predictor import Predictor
    from resmlp.inference.translator import Translation, Translator, load_translator


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'resmlp.inference' has no attribute {name!r}")
    return getattr(import_module(f"resmlp.inference.{_PUBLIC[name]}"), name)
