"""`resmlp compress`."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from resmlp.cli.base import Device, Verb
from resmlp.config.evaluation import EvalData
from resmlp.evaluation.classification import PROTOCOLS
from resmlp.evaluation.evaluator import Evaluator, open_training
from resmlp.hub.default_out import default_out
from resmlp.hub.resolve import file_of, kind_of
from resmlp.inference.prediction import warn_untrained
from resmlp.utils.checks import ANY, BELOW_ONE, check_range, demand
from resmlp.utils.devices import take_place

if TYPE_CHECKING:
    from torch import Tensor

    from resmlp.data import ImageSet
    from resmlp.models import Saved

To = Literal["int8", "int4", "pruned", "2:4"]


@dataclass(frozen=True, kw_only=True)
class Compress(Verb):
    """a smaller network: 8 bits, 4 bits, or fewer weights; its accuracy and its bytes before and after"""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """a run folder, a file of weights, a name of `resmlp list weights`, or hf-hub:ORG/NAME"""
    to: To
    """int8: weights and activations, for onnxruntime; int4: weights; pruned: `share` of each matrix's weights are 0;
    2:4: two of each four"""
    data: EvalData = field(default_factory=EvalData)
    train: Path | None = None
    """a tree of class folders whose images it is fitted to; default train/ of the data, or the run's own. None may
    be among those it is scored on"""
    images: int = 512
    """how many of them"""
    share: float = 0.5
    """of the weights, that --to pruned leaves out"""
    out: Path | None = None
    """a folder; default int8/ and so on in a run folder, else int8/NAME"""
    device: Device = "auto"

    def __post_init__(self):
        check_range("--", self, images=(1, ANY), share=(0, BELOW_ONE))
        unread = f"--data.val or --data.split for {self.to}"
        demand(self.data.val is None and self.data.split is None, unread, "images of classes have none: leave it out")
        demand(len(self.data.crop_ratio) < 2, "--data.crop-ratio names several", "compress measures at one")

    def run(self) -> dict[str, Any]:
        """Write the files, and say what they cost and what is left of the accuracy."""
        kind = kind_of(self.model)
        demand(kind == "classifier", f"{self.model} is a {kind}", "compress takes classifiers")
        from resmlp.compression.compress import check_place, compress, find_method
        from resmlp.models import Trunk, open_model

        out = self.out or default_out(self.model, self.to.replace(":", "of"))
        find_method(self.to, self.share)
        check_place(out, self.to)
        saved = open_model(self.model)
        file = file_of(self.model)
        size = file.stat().st_size if file.is_file() else None  # random weights have no file
        demand(isinstance(saved.model, Trunk), f"{self.model} is no network of ours", "give one of `resmlp list`")
        warn_untrained(self.model, saved.trained)
        with take_place(self.device) as place:
            demand(place.world == 1, "compress runs in one process", "start it without torchrun")
            evaluator = Evaluator(self.model, self.data, place)

            def score(saved: "Saved") -> dict[str, float]:
                return top1(evaluator, saved)

            images = self.read_images(saved, evaluator.images)
            result = compress(saved, out, self.to, images, score, self.share, size) | {"out": str(out)}
        if not self.json:
            print(in_words(result))
        return result

    def read_images(self, saved: "Saved", scored: "ImageSet") -> "Tensor":
        """uint8 P 3 H W: training images as the network sees them, a seeded choice among all that can be read.

        Raises `UserError` where one of them is among `scored`: that accuracy would be of images it was fitted to.
        """
        import torch

        from resmlp.data import EvalBatches

        images = open_training(self.model, self.data, self.train)
        generator = torch.Generator().manual_seed(0)
        chosen = images.subset(torch.randperm(len(images), generator=generator)[: self.images].tolist())
        held_out = set(places(scored))
        both = [place for place in places(chosen) if place in held_out]
        twice = f"{len(both)} of the {len(chosen)} images to fit it to are scored as well: {', '.join(both[:1])}"
        demand(not both, twice, "give --train, a tree of other images, or a --data.root with train/ and val/")
        batches = EvalBatches(chosen, saved.preprocessing, self.data.batch_size, self.data.workers)
        read = torch.cat([batch["image"] for batch in batches])
        demand(len(read) > 0, "none of the training images can be read", "resmlp data check names what is amiss")
        return read


def places(images: "ImageSet") -> list[str]:
    """What tells images apart, however the paths to them were spelt."""
    return [os.path.normpath(Path(images.name(i)).absolute()) for i in range(len(images))]


def top1(evaluator: Evaluator, saved: "Saved") -> dict[str, float]:
    """Top-1 and top-5 of a network on the images of `evaluator`, fractions."""
    from resmlp.inference import Predictor

    own = Evaluator(evaluator.model, evaluator.data, evaluator.place)
    predictor = Predictor(saved, evaluator.place.device)
    own.predictor = predictor.with_crop(*evaluator.data.crop_ratio) if evaluator.data.crop_ratio else predictor
    own.images = evaluator.images
    found = dict(PROTOCOLS["top1"].run(own))
    return {name: found[name] for name in ("top1", "top5")}


def in_words(result: dict[str, Any]) -> str:
    """Before and after, a line each, and where it is."""
    lines = [
        f"{when:<6} top1 {part['top1']:.4f}  top5 {part['top5']:.4f}  {part['bytes']:>12,} bytes"
        for when, part in (("before", result["before"]), ("after", result["after"]))
    ]
    smaller = result["before"]["bytes"] / result["after"]["bytes"]
    none = f", {100 * result['zeros']:.1f} % of the weights are 0" if "zeros" in result else ""
    return "\n".join([*lines, f"{result['out']}: {smaller:.2f} times smaller{none}"])
