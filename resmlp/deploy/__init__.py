"""Using a trained network."""

from resmlp.deploy.runtime import Prediction, Predictor, load

__all__ = ["Prediction", "Predictor", "load"]
