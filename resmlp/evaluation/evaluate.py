"""`evaluate()`: a model and data to named scores."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resmlp.config.evaluation import EvalData, Knn, Linear, WeightKind
from resmlp.config.image_size import NATIVE, ImageSize, run_size
from resmlp.config.precision import Execution
from resmlp.evaluation.evaluator import Evaluator
from resmlp.evaluation.protocols import PROTOCOLS
from resmlp.hub.resolve import Source, resolve
from resmlp.inference.model_kinds import KINDS, check_size
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, each_once, lookup

WORST = 20  # classes that are shown
ALWAYS_TOP5 = 5  # classes of which every image is in the top 5
DATA, KNN, LINEAR = EvalData(), Knn(), Linear()


@dataclass(frozen=True)
class Evaluation:
    """The scores of a model; accuracies, mIoU and exact match are fractions, BLEU and chrF are from 0 to 100."""

    crops: Mapping[str, Mapping[str, Any]]
    """the scores by crop ratio; one entry, named "", where one crop was measured"""

    @property
    def scores(self) -> Mapping[str, Any]:
        """The scores of the only crop, or of the first."""
        return next(iter(self.crops.values()))

    def __getitem__(self, name: str) -> Any:
        return self.scores[name]

    def to_dict(self) -> dict[str, Any]:
        """`{"top1": ..., ...}`, or `{"crops": {ratio: scores}}` where several crops were measured."""
        if len(self.crops) > 1:
            return {"crops": {crop: dict(scores) for crop, scores in self.crops.items()}}
        return dict(self.scores)

    def __str__(self) -> str:
        several = len(self.crops) > 1
        parts = (lines(scores, f" at crop ratio {crop}" if several else "") for crop, scores in self.crops.items())
        return "\n".join(line for part in parts for line in part)


def evaluate(
    model: str | Path | Source,
    root: str | Path | None = None,
    protocol: str | Sequence[str] | None = None,
    *,
    data: EvalData = DATA,
    weights: WeightKind = "best",
    real: Path | None = None,
    indices: Path | None = None,
    train: str | Path | None = None,
    knn: Knn = KNN,
    linear: Linear = LINEAR,
    out: Path | None = None,
    device: str = "auto",
    precision: str | None = None,
    img_size: ImageSize | None = None,
) -> Evaluation | None:
    """Evaluate a MODEL by one or several of `PROTOCOLS`, by default the usual one of its kind.

    `root` is that of `data`; without it a run is evaluated on its own validation set. `real`, `indices` and `train` are
    files that some protocols read (docs/evaluation.md). `precision` and `img_size` are as of `resmlp.load`; a
    translator also has int8. Figures go to `out`, by default the run folder. Over several processes each image is
    counted once, and the first process returns the scores, the others None. Raises `UserError`.
    """
    source = resolve(model)
    data = data if root is None else replace(data, root=str(root))
    asked = usual_protocol(source) if protocol is None else protocol
    names = (asked,) if isinstance(asked, str) else tuple(asked)
    files = {"real": real, "indices": indices, "train": train}
    check_protocols(names, data, files)
    size = run_size(img_size)
    check_size(source, size)
    whole = size == NATIVE and bool(data.crop_ratio)
    demand(not whole, "--data.crop-ratio: with --img-size native the whole image is seen", "leave one of them out")
    from resmlp.utils.devices import this_process

    with this_process(device) as process:
        figures = out or source.folder if process.rank == 0 else None
        execution = Execution(device, precision=precision, size=size)
        evaluator = Evaluator(
            source, data, process, weights, real, indices, train, knn, linear, figures, execution=execution
        )
        crops = {str(crop): evaluator.at(crop) for crop in data.crop_ratio} or {"": evaluator}
        results = {crop: _scores(names, each) for crop, each in crops.items()}
    return None if process.rank else Evaluation(results)


def usual_protocol(source: Source) -> str:
    """The protocol of a MODEL by its kind; of one that gives several labels for each image `map`."""
    several = getattr(source.config, "threshold", None) is not None
    return "map" if several else KINDS[source.kind].protocol


def _scores(names: Sequence[str], evaluator: Evaluator) -> dict[str, Any]:
    """The scores of all protocols; where a precision was asked for, also what ran the network."""
    running = [PROTOCOLS[name].run(evaluator) for name in names]  # all are checked before the network runs
    found = {name: value for scores in running for name, value in scores}
    ran = getattr(vars(evaluator).get("predictor"), "ran", None)  # of texts and masks there is none
    return found | ({"ran_by": ran._asdict()} if ran and evaluator.execution.precision else {})


def check_protocols(names: Sequence[str], data: EvalData, files: Mapping[str, str | Path | None]) -> None:
    """Raise `UserError` for an unknown protocol, a missing file, and options that none of the protocols reads."""
    demand(bool(names), "--protocol names nothing", "choose from " + ", ".join(PROTOCOLS))
    asked = [lookup("protocol", name, PROTOCOLS) for name in names]
    for file, path in files.items():
        readers = [protocol for protocol in asked if protocol.needs == file]
        users = " or ".join(name for name, protocol in PROTOCOLS.items() if protocol.needs == file)
        demand(bool(readers) or path is None, f"--{file} is given, and nothing reads it", f"add --protocol {users}")
        if path is None and any(not protocol.optional for protocol in readers):
            raise UserError(f"--protocol {users} needs --{file}", "see docs/evaluation.md")
    text = "bleu" in names
    demand(text or data.val is None, "--data.val is given, and nothing reads it", "add --protocol bleu")
    demand(not (text and data.crop_ratio), "--data.crop-ratio is for images", "leave it out")
    demand(not (text and data.exif), "--data.exif is for images", "leave it out")
    pixels = "miou" in names
    demand(data.split is None or not text, "--data.split is for images", "leave it out")
    demand(data.labels is None or not (text or pixels), "--data.labels is for labels of whole images", "leave it out")


def lines(scores: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """The scores as lines for people; classes from the worst to the best."""
    numbers = {name: value for name, value in scores.items() if isinstance(value, float)}
    if 0 < len(scores.get("per_class", {})) <= ALWAYS_TOP5:
        numbers.pop("top5", None)
    numbers.pop("macro_f1", None)  # the line stays short; --json has all
    shown = [f"{name} {value:.4f}" + _interval(scores.get(f"{name}_interval")) for name, value in numbers.items()]
    amount = "".join(f"  on {scores[what]:,} {what}" for what in ("images", "sentences") if what in scores)
    yield "  ".join(shown) + amount + where
    for name, value in scores.items():
        if name.endswith("_signature"):
            yield f"  {name.removesuffix('_signature')} is {value}"
    if "ran_by" in scores:
        yield "  ran by {backend}, {precision} ({instruction_set})".format(**scores["ran_by"])
    if "train_images" in scores:
        yield f"  learned from {scores['train_images']:,} training images"
    if "linear_grid" in scores:
        yield "  linear has the lr and the layers that are the best on held-out training images;"
        yield "  linear_upper_bound is the best of the grid on these images:"
        for member in scores["linear_grid"]:
            held_out = f", held out {member['held_out_top1']:.4f}" if "held_out_top1" in member else ""
            yield "    last {layers} layers, lr {lr:g}: top1 {top1:.4f}, top5 {top5:.4f}".format(**member) + held_out
    if "real_images" in scores:
        yield f"  real is counted on the {scores['real_images']:,} images that have a ReaL label"
    if "map" in scores:
        yield "  map is the mean of the average precisions of the classes; f1 is at the threshold of the model"
    if "not_finite" in scores:
        yield f"  {scores['not_finite']:,} images gave outputs that are not finite; they count as wrong"
    if "pixels_not_finite" in scores:
        yield f"  {scores['pixels_not_finite']:,} pixels got outputs that are not finite; they count as wrong"
    known = sorted((score, name) for name, score in scores.get("per_class", {}).items() if score is not None)
    for score, name in known[:WORST]:
        yield f"  {score:.3f}  {name}"
    if len(known) > WORST:
        yield f"  ... and {len(known) - WORST} better classes (--json lists all)"
    for name in each_once(scores.get("unreadable", ())):
        yield f"  left out, cannot be read: {name}"
    for name in each_once(scores.get("train_unreadable", ())):
        yield f"  left out of training, cannot be read: {name}"
    if "not_drawn" in scores:
        yield f"not drawn: {scores['not_drawn']}"
    if "hypotheses" in scores:
        yield f"written: {scores['hypotheses']}"
    for figure in scores.get("figures", ()):
        yield f"drawn: {figure}"


def _interval(interval: tuple[float, float] | None) -> str:
    return f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
