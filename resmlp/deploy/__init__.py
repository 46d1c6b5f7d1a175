"""Using a trained network."""

from resmlp.deploy.runtime import Prediction, Predictor, load
from resmlp.deploy.translator import Translation, Translator, load_translator

__all__ = ["Prediction", "Predictor", "Translation", "Translator", "load", "load_translator"]
