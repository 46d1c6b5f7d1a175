"""The kinds of MODEL, in one table: what opens each, what predicts with it, and how it is evaluated by default.

Loads no torch before a network that needs it is opened.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resmlp.config.export_sizes import sizes_of
from resmlp.config.image_size import ImageSize, Native, Size, run_size, shown
from resmlp.config.model_json import AnyExport, ExportedModelConfig, ExportedSegmenterConfig
from resmlp.config.precision import Execution
from resmlp.hub.resolve import Kind, Source, resolve
from resmlp.utils.checks import demand

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
    model: str | Path | Source,
    device: str = "auto",
    backend: str | None = None,
    precision: str | None = None,
    img_size: ImageSize | None = None,
) -> "Predictor":
    """A MODEL ready to predict: `load("runs/digits").predict("five.png").label`.

    The result is a `Classifier` (of a classifier, a network of features, a compressed one, or one of timm), a
    `SegmentationPredictor` or a `Translator`; of an exported network the same as of what it was made from.

    `backend` runs a classifier on a CPU: torch (the default), folded, compile, onnx, openvino, or auto, the fastest of
    the installed ones. An exported network fixes its backend. `precision` is fp32 (the default), bf16, int8 (of
    exported networks) or auto (the default of backend auto): the fastest that the hardware has and that keeps the
    answers of fp32. `img_size`, such as 288 or "320x224", is the size of the images where it is another than that of
    the network, or "native" (docs/resolution.md). Raises `UserError`.
    """
    if precision is None and backend == "auto":
        precision = "auto"
    return load_source(resolve(model), Execution(device, backend, precision, size=run_size(img_size)))


def load_source(source: Source, execution: Execution) -> "Predictor":
    """The same, of a MODEL that was found, run as is asked for."""
    check_size(source, execution.size)
    return KINDS[source.kind].load(source, execution)


def open_source(model: str | Path | Source, size: Size | None = None) -> Any:
    """The network of a MODEL with what belongs to it; the type is that of its kind. `size` is another of its images."""
    source = resolve(model)
    check_size(source, size)
    opened = KINDS[source.kind].open(source)
    if size is None or isinstance(source.config, AnyExport):
        return opened
    from resmlp.models.at_size import at_size, segmenter_at

    return segmenter_at(opened, size) if source.kind == "segmenter" else at_size(opened, size)


def check_size(source: Source, size: Size | Native | None) -> None:
    """Raise `UserError` for a MODEL whose images have no other size, or not this one."""
    if size is None:
        return
    text = KINDS[source.kind].takes != "images"
    demand(not text, f"--img-size {shown(size)}: {source} translates text", "leave it out")
    fixed = f"--img-size {shown(size)}: {source} is for images of one size"
    demand(source.kind not in ("timm", "pixels"), fixed, "leave it out: only networks of resmlp are moved")
    if isinstance(source.config, ExportedModelConfig | ExportedSegmenterConfig):
        sizes = sizes_of(source.config)
        what = f"--img-size {shown(size)}: {source} is an export for images of {' and '.join(map(shown, sizes))}"
        demand(size in sizes, what, "leave it out, or export the network again with this --img-size")


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


def _load_exported(source: Source, execution: Execution) -> "Predictor":
    from resmlp.inference.exported import ExportedPredictor
    from resmlp.inference.exported_folder import check_execution

    check_execution(source, execution)
    return ExportedPredictor(source, execution=execution)


def _load_classifier(source: Source, execution: Execution) -> "Predictor":
    from resmlp.inference.plain import PlainClassifier, is_for_numpy

    return PlainClassifier(source) if is_for_numpy(source, execution) else NETWORK.load(source, execution)


def _open_compressed(source: Source) -> Any:
    return (EXPORTED if _is_exported(source) else NETWORK).open(source)


def _load_compressed(source: Source, execution: Execution) -> "Predictor":
    return (EXPORTED if _is_exported(source) else NETWORK).load(source, execution)


def _is_exported(source: Source) -> bool:
    """Whether a compressed network runs by an exported file (8 bits), and not by torch (4 bits, pruned)."""
    return isinstance(source.config, ExportedModelConfig)


NETWORK = KindOfModel("top1", _open_network, _lazily("native", "load_network"))
EXPORTED = KindOfModel("top1", _lazily("predictor", "open_exported"), _load_exported)
KINDS: dict[Kind, KindOfModel] = {
    "classifier": KindOfModel("top1", _open_network, _load_classifier),
    "features": KindOfModel("knn", _open_network, NETWORK.load),
    "segmenter": KindOfModel("miou", _open_segmenter, _lazily("segmenter", "load_segmenter")),
    "translator": KindOfModel(
        "bleu", _lazily("translator", "open_translator"), _lazily("translator", "load_translator"), "text"
    ),
    "exported": EXPORTED,
    "exported-segmenter": KindOfModel("miou", *_both("exported_segmenter", "load_exported_segmenter")),
    "exported-translator": KindOfModel("bleu", *_both("exported_translator", "load_exported_translator"), "text"),
    "compressed": KindOfModel("top1", _open_compressed, _load_compressed),
    "timm": NETWORK,
    "pixels": KindOfModel("knn", _lazily("predictor", "open_pixels"), _lazily("native", "load_pixels")),
}
