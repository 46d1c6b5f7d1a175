"""`resmlp eval`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from resmlp.cli.base import Device, Verb
from resmlp.config.evaluation import EvalData, Knn, Linear
from resmlp.evaluation.classification import DEFAULTS, PROTOCOLS
from resmlp.evaluation.evaluator import Evaluator, Weights
from resmlp.hub.resolve import kind_of
from resmlp.utils.checks import demand
from resmlp.utils.devices import take_place
from resmlp.utils.errors import UserError, lookup

WORST = 20  # classes that are shown

ABOUT = "; ".join(f"{name}: {protocol.about}" for name, protocol in PROTOCOLS.items())
Names = Annotated[
    tuple[str, ...] | None,
    arg(metavar="NAME...", help=f"{ABOUT}; default by what the model is: {' or '.join(DEFAULTS.values())}"),
]


@dataclass(frozen=True, kw_only=True)
class Eval(Verb):
    """accuracy on labeled images: top-1, top-5, each class; mIoU of segmentation, BLEU of translations"""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """a run folder, a file of weights, a name of `resmlp list weights`, hf-hub:ORG/NAME, timm:NAME, or pixels (for knn
    and linear)"""
    data: EvalData = field(default_factory=EvalData)
    protocol: Names = None
    real: Path | None = None
    """real.json, the ReaL labels"""
    indices: Path | None = None
    """a text file of class indices, one a line: the classes that can be said"""
    train: Path | None = None
    """a tree of class folders that knn and linear learn from; default train/ of the data, or the run's own"""
    knn: Knn = field(default_factory=Knn)
    linear: Linear = field(default_factory=Linear)
    weights: Weights = "best"
    """of a run folder: those it chose (best), or its last checkpoint's: as trained (raw), their moving average (ema,
    with --run.ema), or the mean of the last epochs (avg, with --run.average)"""
    out: Path | None = None
    """where figures/ or hypotheses.txt goes; default the run folder, if the model is one"""
    device: Device = "auto"

    def __post_init__(self):
        demand(self.protocol != (), "--protocol names nothing", "choose from " + ", ".join(PROTOCOLS))
        asked = [lookup("protocol", name, PROTOCOLS) for name in self.protocols]
        for file in ("real", "indices", "train"):
            given, read = getattr(self, file) is not None, [p for p in asked if p.needs == file]
            users = " or ".join(name for name, protocol in PROTOCOLS.items() if protocol.needs == file)
            demand(bool(read) or not given, f"--{file} is given, and nothing reads it", f"add --protocol {users}")
            if not given and any(not protocol.optional for protocol in read):
                raise UserError(f"--protocol {users} needs --{file}", "see docs/evaluation.md")
        text = "bleu" in self.protocols
        demand(text or self.data.val is None, "--data.val is given, and nothing reads it", "add --protocol bleu")
        demand(not (text and self.data.crop_ratio), "--data.crop-ratio is given, and text has none", "leave it out")

        unread = f"--data.split {self.data.split}: only --protocol miou reads it"
        demand(self.data.split is None or "miou" in self.protocols, unread, "leave it out")

    @property
    def protocols(self) -> tuple[str, ...]:
        """Those that were asked for, or the usual one of such a model."""
        return self.protocol or (DEFAULTS.get(kind_of(self.model), "top1"),)

    def run(self) -> dict[str, Any]:
        """Evaluate by each protocol and through each crop; of several processes the first returns the numbers."""
        with take_place(self.device) as place:
            out = self.out or (Path(self.model) if Path(self.model).is_dir() else None)
            out = out if place.rank == 0 else None
            evaluator = Evaluator(
                self.model,
                self.data,
                place,
                self.weights,
                self.real,
                self.indices,
                self.train,
                self.knn,
                self.linear,
                out,
            )
            crops = self.data.crop_ratio
            evaluators = {str(crop): evaluator.at(crop) for crop in crops} or {"": evaluator}
            results = {crop: self.ask(evaluator) for crop, evaluator in evaluators.items()}
        if place.rank:
            return {}
        if not self.json:
            for crop, result in results.items():
                for line in show(result, f" at crop ratio {crop}" if len(results) > 1 else ""):
                    print(line)
        return {"crops": results} if len(results) > 1 else next(iter(results.values()))

    def ask(self, evaluator: Evaluator) -> dict[str, Any]:
        """The numbers of all protocols."""
        found = [PROTOCOLS[name].run(evaluator) for name in self.protocols]  # all are checked before the network runs
        return {name: value for each in found for name, value in each}


def show(result: dict[str, Any], where: str = "") -> Iterator[str]:
    """The numbers as lines for people; the classes from the worst to the best."""
    numbers = {name: value for name, value in result.items() if isinstance(value, float)}
    intervals = {name: result.get(f"{name}_interval") for name in numbers}
    shown = [f"{name} {value:.4f}" + _around(intervals[name]) for name, value in numbers.items()]
    counted = "".join(f"  on {result[what]:,} {what}" for what in ("images", "sentences") if what in result)
    yield "  ".join(shown) + counted + where
    for name, value in result.items():
        if name.endswith("_signature"):
            yield f"  {name.removesuffix('_signature')} is {value}"
    if "train_images" in result:
        yield f"  learned from {result['train_images']:,} training images"
    if "linear_grid" in result:
        yield "  linear is the best of the grid, chosen on these images:"
        for member in result["linear_grid"]:
            yield "    last {layers} layers, lr {lr:g}: top1 {top1:.4f}, top5 {top5:.4f}".format(**member)
    if "real_images" in result:
        yield f"  real is counted on {result['real_images']:,} images, those that have an answer"
    if "not_finite" in result:
        yield f"  {result['not_finite']:,} images gave numbers that are not finite, and count as wrong"
    if "pixels_not_finite" in result:
        yield f"  {result['pixels_not_finite']:,} pixels were given numbers that are not finite, and count as wrong"
    classes = result.get("per_class", {})
    known = sorted((score, name) for name, score in classes.items() if score is not None)
    for score, name in known[:WORST]:
        yield f"  {score:.3f}  {name}"
    if len(known) > WORST:
        yield f"  ... and {len(known) - WORST} better classes (--json lists all)"
    for name in result.get("unreadable", ()):
        yield f"  left out, cannot be read: {name}"
    for name in result.get("train_unreadable", ()):
        yield f"  left out of training, cannot be read: {name}"
    if "not_drawn" in result:
        yield f"not drawn: {result['not_drawn']}"
    if "hypotheses" in result:
        yield f"written: {result['hypotheses']}"
    for figure in result.get("figures", ()):
        yield f"drawn: {figure}"


def _around(interval: tuple[float, float] | None) -> str:
    return f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
