"""From what a person writes to a network that is ready to predict. Loads no torch before one of torch's is wanted."""

from pathlib import Path
from typing import TYPE_CHECKING

from resmlp.hub.resolve import kind_of
from resmlp.inference.exported import ExportedPredictor
from resmlp.utils.checks import demand

if TYPE_CHECKING:
    from resmlp.inference.predictor import Predictor


def load(path: str | Path, device: str = "auto", backend: str | None = None) -> "Predictor | ExportedPredictor":
    """A run folder, a model file or any other MODEL of the command line, ready to predict; or an exported folder.

    `backend` runs it: torch (the default), folded, compile, onnx, openvino, or auto, the fastest of those that are
    there; an exported folder says by itself, and its `logits` gives NumPy's arrays, not tensors.
    """
    if kind_of(str(path)) == "exported":
        demand(device in ("auto", "cpu"), f"--device {device}: an exported network runs on the CPU", "leave it out")
        demand(backend is None, f"--backend {backend}: {path} is exported, and says what runs it", "leave it out")
        return ExportedPredictor(path)
    from resmlp.inference.predictor import Predictor
    from resmlp.models import open_model
    from resmlp.utils.devices import find_device

    return Predictor(open_model(str(path)), find_device(device), backend or "torch")
