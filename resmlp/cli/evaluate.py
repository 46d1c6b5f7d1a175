"""`resmlp eval`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from resmlp.cli.base import Device, RunSize, Verb, print_text
from resmlp.config.evaluation import EvalData, Knn, Linear, WeightKind
from resmlp.config.precision import PrecisionChoice
from resmlp.evaluation.evaluate import evaluate
from resmlp.evaluation.protocols import PROTOCOLS
from resmlp.inference.model_kinds import KINDS

ABOUT = "; ".join(f"{name}: {protocol.about}" for name, protocol in PROTOCOLS.items())
USUAL = ", ".join(dict.fromkeys(kind.protocol for kind in KINDS.values()))
Names = Annotated[
    tuple[str, ...] | None, arg(metavar="NAME...", help=f"{ABOUT}; default by the kind of model: {USUAL}")
]


@dataclass(frozen=True, kw_only=True)
class Eval(Verb):
    """accuracy on labeled images: top-1, top-5, each class; mIoU of segmentation, BLEU of translation"""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """a run folder, a weight file, a name of `resmlp list weights`, hf-hub:ORG/NAME, timm:NAME, or pixels (for knn
    and linear)"""
    data: EvalData = field(default_factory=EvalData)
    protocol: Names = None
    real: Path | None = None
    """real.json, the ReaL labels"""
    indices: Path | None = None
    """a text file of class indices, one per line: the classes that may be predicted"""
    train: str | None = None
    """a tree of class folders for knn and linear to learn from; default train/ of the data, or the run's own"""
    knn: Knn = field(default_factory=Knn)
    linear: Linear = field(default_factory=Linear)
    weights: WeightKind = "best"
    """of a run folder: the best weights, or those of its last checkpoint: raw, their moving average (ema, with
    --run.ema), or the mean of the last epochs (avg, with --run.average)"""
    out: Path | None = None
    """where figures/ or hypotheses.txt goes; default the run folder"""
    img_size: RunSize = None
    device: Device = "auto"
    precision: PrecisionChoice | None = None
    """of the products: fp32 (default; an exported network as it was exported), bf16, int8 (translators), or auto, the
    fastest that this device has and that keeps the answers"""

    def run(self) -> dict[str, Any]:
        """Evaluate; of several processes the first prints."""
        options = {name: value for name, value in vars(self).items() if name not in ("json", "debug", "model")}
        result = evaluate(self.model, **options)
        if result and not self.json:
            print_text(result)
        return result.to_dict() if result else {}
