"""A network in fewer bytes, with its accuracy and the size of its weights before and after."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors.torch import save
from torch import Tensor

from resmlp.compression import MethodName
from resmlp.compression.calibration import calibration_images
from resmlp.compression.int8 import ExportedNetwork
from resmlp.compression.methods import SHARE, contiguous, find_method
from resmlp.config.evaluation import EvalData
from resmlp.config.model_json import ModelConfig
from resmlp.config.precision import Execution
from resmlp.evaluation.classification import top1
from resmlp.evaluation.evaluator import Evaluator
from resmlp.evaluation.multilabel import mean_average_precision
from resmlp.exporters.export import trunk_of
from resmlp.hub.default_out import default_out
from resmlp.hub.resolve import Source, resolve
from resmlp.inference.prediction import warn_untrained
from resmlp.inference.predictor import TorchPredictor
from resmlp.models import Saved, open_model
from resmlp.utils.checks import demand
from resmlp.utils.devices import this_process
from resmlp.utils.files import disk_errors, write_json, write_together
from resmlp.utils.run_folder import COMPRESSION, CONFIG, RECIPE
from resmlp.utils.serialization import to_dict

IMAGES = 512
"""default number of calibration images"""

Scores = dict[str, float]
"""top1 and top5 of a classifier; map and f1 of one that gives several labels for each image"""
Score = Callable[[Saved], Scores]


@dataclass(frozen=True)
class Measured:
    """What a network reaches, and the bytes of its file of weights."""

    scores: Scores
    bytes: int

    def to_dict(self) -> dict[str, float]:
        """The scores by name, and `bytes`."""
        return {**self.scores, "bytes": self.bytes}

    def __str__(self) -> str:
        scores = (f"{name} {value:.4f}" for name, value in self.scores.items())
        return "  ".join([*scores, f"{self.bytes:>12,} bytes"])


@dataclass(frozen=True)
class CompressionResult:
    """What `compress` wrote, with measurements before and after."""

    out: Path
    """the folder"""
    to: MethodName
    images: int
    """number of calibration images"""
    before: Measured
    after: Measured
    zeros: float | None = None
    """share of zeros among the weights (int4: codes) of the compressed matrices; None for int8"""
    codes_bytes: int | None = None
    """bytes of all codes of int4"""
    onnx_bytes: int | None = None
    """bytes of the same export in 32 bits, for int8"""
    speedup: float | None = None
    """images a second over those of the fastest other precision of the same export on this machine, for
    int8-openvino"""

    def to_dict(self) -> dict[str, Any]:
        """The object that `resmlp compress --json` prints."""
        own = {"out": str(self.out), "before": self.before.to_dict(), "after": self.after.to_dict()}
        return {key: value for key, value in (to_dict(self) | own).items() if value is not None}

    def __str__(self) -> str:
        lines = [f"{name:<6} {part}" for name, part in (("before", self.before), ("after", self.after))]
        ratio = self.before.bytes / self.after.bytes
        zeros = "" if self.zeros is None else f", {100 * self.zeros:.1f} % of the weights are 0"
        faster = "" if self.speedup is None else f", {self.speedup:.2f} times as fast as in its best other precision"
        return "\n".join([*lines, f"{self.out}: {ratio:.2f} times smaller{zeros}{faster}"])


def compress(
    model: str | Path | Source,
    to: MethodName = "int8",
    out: str | Path | None = None,
    *,
    data: EvalData | None = None,
    train: str | Path | None = None,
    images: int = IMAGES,
    share: float = SHARE,
    device: str = "auto",
    precision: str | None = None,
) -> CompressionResult:
    """Compress MODEL, a classifier, into the folder `out`: by default RUN/METHOD, or METHOD/NAME.

    int8: weights and activations of 8 bits, as ONNX, or by int8-openvino for OpenVINO; int4: weights of 4 bits; pruned:
    a `share` of each matrix is 0; 2:4: two of each four weights are 0. Accuracy is measured on `data`, by default the
    validation set of a run; `images` training images, from `train` or from the training set of `data`, calibrate the
    method. `precision`, as of `resmlp.load`, is that of the networks in torch when they are measured.

    Raises `UserError` for a model that is not a resmlp classifier, for a missing package, for data that cannot be
    read, for calibration images among the evaluated ones, and for a folder with other content.
    """
    data = data or EvalData()
    source = resolve(model)
    source.expect(ModelConfig)
    _check(to, data, images, share)
    folder = default_out(source.name, to.replace(":", "of")) if out is None else Path(out)
    find_method(to, share)
    check_out(folder, to)
    saved = open_model(source)
    trunk_of(saved, source.name)
    size = source.file.stat().st_size if source.trained else None
    warn_untrained(source.name, source.trained)
    with this_process(device) as process:
        demand(process.world == 1, "compress runs in one process", "start it without torchrun")
        execution = Execution(device, precision=precision)
        evaluator = Evaluator(source, data, process, train=train, execution=execution)
        pixels = calibration_images(evaluator.training_images, evaluator.images, images, saved.preprocessing, data)
        result = compress_saved(saved, folder, to, pixels, partial(accuracy, evaluator), share, size)
    (folder / RECIPE).unlink(missing_ok=True)  # of an earlier network
    if source.recipe:  # so that evaluation finds the data, wherever the folder is
        write_json(folder / RECIPE, to_dict(source.recipe))
    return result


def compress_saved(
    saved: Saved,
    folder: Path,
    to: MethodName,
    images: Tensor,
    score: Score,
    share: float = SHARE,
    size: int | None = None,
) -> CompressionResult:
    """Compress an opened network into `folder`, all files or none: its weights, model.json and compress.json.

    `images` are calibration images, uint8 P 3 H W; `score` measures a network; `size` is the bytes of the file of
    `saved`, by default of a file of 32-bit weights. Errors are those of `compress`.
    """
    method = find_method(to, share)
    trunk_of(saved)
    check_out(folder, to)
    before = score(saved)
    size = len(save(contiguous(saved.model.state_dict()))) if size is None else size
    with TemporaryDirectory(prefix="resmlp-compress-") as temporary:
        place = Path(temporary)
        with disk_errors(folder):
            small, details = method.write(saved, images, place)
        after, small_size = score(small), sum((place / name).stat().st_size for name in method.files)
        result = CompressionResult(
            folder, to, len(images), Measured(before, size), Measured(after, small_size), **details
        )
        write_json(place / COMPRESSION, {key: value for key, value in result.to_dict().items() if key != "out"})
        files = (*method.files, CONFIG, COMPRESSION)
        write_together({folder / name: partial(shutil.copyfile, place / name) for name in files})
    return result


def accuracy(evaluator: Evaluator, saved: Saved) -> Scores:
    """The scores of a network on the images of `evaluator`."""
    own = isinstance(saved.model, ExportedNetwork)  # it runs as it was written
    predictor = TorchPredictor(saved, evaluator.process.device, Execution() if own else evaluator.execution)
    measured = Evaluator(evaluator.source, evaluator.data, evaluator.process)
    measured.predictor = predictor.with_crop(*evaluator.data.crop_ratio) if evaluator.data.crop_ratio else predictor
    measured.images = evaluator.images
    protocol, names = (top1, ("top1", "top5")) if saved.threshold is None else (mean_average_precision, ("map", "f1"))
    values = dict(protocol(measured))
    return {name: values[name] for name in names}


def check_out(folder: Path, to: str) -> None:
    """Raise `UserError` for a folder with other content than an earlier result of the same method."""
    demand(not folder.exists() or folder.is_dir(), f"--out {folder} is a file", "give a folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    report = folder / COMPRESSION
    demand(report.is_file(), f"--out {folder} holds something that compress did not write", "give another --out")
    other = f"--out {folder} holds the result of another method than --to {to}"
    demand(f'"to": "{to}"' in report.read_text(encoding="utf-8", errors="replace"), other, "give another --out")


def _check(to: str, data: EvalData, images: int, share: float) -> None:
    """Raise `UserError` for arguments out of range, and for data that classifiers do not have."""
    demand(images >= 1, f"--images {images}", "1 or more")
    demand(0 <= share < 1, f"--share {share:g}", "0 or more, below 1")
    unused = "--data.val and --data.split are for translators and segmenters"
    demand(data.val is None and data.split is None, unused, "leave them out")
    demand(len(data.crop_ratio) < 2, "--data.crop-ratio has several values", "compress measures at one")
