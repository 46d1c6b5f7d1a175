"""Networks: one vision trunk for all of them, names, weights of every dialect, and the model file."""

from resmlp.models.build import create_model, list_models
from resmlp.models.count import count_macs, count_parameters
from resmlp.models.saved import Saved, load_saved, open_model, save_model
from resmlp.models.trunk import Trunk, TrunkConfig
from resmlp.models.weights import Weights, load_into, read_weights

__all__ = [
    "Saved",
    "Trunk",
    "TrunkConfig",
    "Weights",
    "count_macs",
    "count_parameters",
    "create_model",
    "list_models",
    "load_into",
    "load_saved",
    "open_model",
    "read_weights",
    "save_model",
]
