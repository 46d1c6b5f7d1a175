"""The kinds of MODEL, in one table: what opens each, what predicts with it, and how it is evaluated by default.

Loads no torch before a network that needs it is opened.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resmlp.config.precision import Execution
from resmlp.hub.resolve import Kind, Source, resolve

if TYPE_CHECKING:
    from resmlp.inference.prediction import Predictor


@dataclass(frozen=True)
class KindOfModel:
    """What can be done with one kind of MODEL."""

    protocol: str
    """the protocol of `resmlp.evaluate` that is usual for it"""
    open: Callable[[Source], Any]
    """the network and what belongs to it: classes, preprocessing, vocabulary"""
    load: "Callable[[Source, Execution], Predictor]"
    """the network ready to predict"""
    takes: str = "images"
    """images or text"""


def load(
    model: str | Path | Source, device: str = "auto", backend: str | None = None, precision: str | None = None
) -> "Predictor":
    """A MODEL ready to predict: `load("runs/digits").predict("five.png").label`.

    The result is a `Classifier` (of a classifier, a network of features, a compressed one, or one of timm), a
    `SegmentationPredictor` or a `Translator`; of an exported network the same as of what it was made from.

    `backend` runs a classifier on a CPU: torch (the default), folded, compile, onnx, openvino, or auto, the fastest of
    the installed ones. An exported network fixes its backend. `precision` is fp32 (the default), bf16, int8 (of
    exported networks) or auto (the default of backend auto): the fastest that the hardware has and that keeps the
    answers of fp32. Raises `UserError`.
    """
    if precision is None and backend == "auto":
        precision = "auto"
    return load_source(resolve(model), Execution(device, backend, precision))


def load_source(source: Source, execution: Execution) -> "Predictor":
    """The same, of a MODEL that was found, run as is asked for."""
    return KINDS[source.kind].load(source, execution)


def open_source(model: str | Path | Source) -> Any:
    """The network of a MODEL with what belongs to it; the type is that of its kind."""
    source = resolve(model)
    return KINDS[source.kind].open(source)


def _lazily(module: str, name: str) -> Callable[..., Any]:
    """A function of `resmlp.inference.<module>`, imported at the first call."""
    return lambda *args: getattr(import_module(f"resmlp.inference.{module}"), name)(*args)


def _both(module: str, name: str) -> tuple[Callable[[Source], Any], "Callable[[Source, Execution], Predictor]"]:
    """One function that opens a network and loads it: what runs it is all there is of an export."""
    load = _lazily(module, name)
    return lambda source: load(source, Execution()), load


def _open_network(source: Source) -> Any:
    from resmlp.models import open_model

    return open_model(source)


def _open_segmenter(source: Source) -> Any:
    from resmlp.models.segmenter_files import open_segmenter

    return open_segmenter(source)


def _load_network(source: Source, execution: Execution) -> "Predictor":
    from resmlp.inference.predictor import TorchPredictor
    from resmlp.models import open_model
    from resmlp.utils.devices import find_device

    return TorchPredictor(open_model(source), find_device(execution.device), execution)


def _load_exported(source: Source, execution: Execution) -> "Predictor":
    from resmlp.inference.exported import ExportedPredictor
    from resmlp.inference.exported_folder import check_execution

    check_execution(source, execution)
    return ExportedPredictor(source, execution=execution)


def _open_compressed(source: Source) -> Any:
    return (EXPORTED if _is_exported(source) else NETWORK).open(source)


def _load_compressed(source: Source, execution: Execution) -> "Predictor":
    return (EXPORTED if _is_exported(source) else NETWORK).load(source, execution)


def _is_exported(source: Source) -> bool:
    """Whether a compressed network runs by an exported file (8 bits), and not by torch (4 bits, pruned)."""
    from resmlp.config.model_json import ExportedModelConfig

    return isinstance(source.config, ExportedModelConfig)


NETWORK = KindOfModel("top1", _open_network, _load_network)
EXPORTED = KindOfModel("top1", _lazily("predictor", "open_exported"), _load_exported)
KINDS: dict[Kind, KindOfModel] = {
    "classifier": NETWORK,
    "features": KindOfModel("knn", _open_network, _load_network),
    "segmenter": KindOfModel("miou", _open_segmenter, _lazily("segmenter", "load_segmenter")),
    "translator": KindOfModel(
        "bleu", _lazily("translator", "open_translator"), _lazily("translator", "load_translator"), "text"
    ),
    "exported": EXPORTED,
    "exported-segmenter": KindOfModel("miou", *_both("exported_segmenter", "load_exported_segmenter")),
    "exported-translator": KindOfModel("bleu", *_both("exported_translator", "load_exported_translator"), "text"),
    "compressed": KindOfModel("top1", _open_compressed, _load_compressed),
    "timm": NETWORK,
    "pixels": KindOfModel("knn", _lazily("predictor", "open_pixels"), _lazily("predictor", "load_pixels")),
}
