"""Using a trained network. Each part is loaded when it is first asked for: an exported network needs no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "GraphPredictor": "graphs",
    "Prediction": "naming",
    "Predictor": "runtime",
    "Translation": "translator",
    "Translator": "translator",
    "load": "opening",
    "load_translator": "translator",
}

__all__ = ["GraphPredictor", "Prediction", "Predictor", "Translation", "Translator", "load", "load_translator"]

if TYPE_CHECKING:
    from resmlp.deploy.graphs import GraphPredictor
    from resmlp.deploy.naming import Prediction
    from resmlp.deploy.opening import load
    from resmlp.deploy.runtime import Predictor
    from resmlp.deploy.translator import Translation, Translator, load_translator


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'resmlp.deploy' has no attribute {name!r}")
    return getattr(import_module(f"resmlp.deploy.{_PUBLIC[name]}"), name)
