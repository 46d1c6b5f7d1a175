"""`resmlp eval`."""

import contextlib
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from resmlp.checks import ANY, POSITIVE, check_range
from resmlp.config import Data, Recipe
from resmlp.errors import UserError
from resmlp.files import read_json
from resmlp.serial import from_dict
from resmlp.verbs.base import Device, Verb, warn_untrained

if TYPE_CHECKING:
    from resmlp.data import ImageSet
    from resmlp.deploy import Predictor
    from resmlp.evaluate import Tally

SHOWN = 24  # pictures in figures/predictions.png


@dataclass(frozen=True)
class EvalData:
    """What to evaluate on; for a run folder, by default what that run held out."""

    root: str | None = None
    """an ImageFolder tree or archive: its val/ (or test/), else all of it"""
    batch_size: int = 64
    workers: int = 2
    crop_ratio: float | None = None
    """another evaluation crop than the model's own"""
    strict: bool = False
    """stop at a picture that cannot be read, instead of naming it and leaving it out"""

    def __post_init__(self):
        check_range("--data.", self, batch_size=(1, ANY), workers=(0, ANY), crop_ratio=(POSITIVE, 1))

    def suffix(self) -> str:
        """What figures are called after, so that those of other data do not replace those of the run's own."""
        root = "" if self.root is None else "-" + re.sub(r"[^\w.-]", "_", Path(self.root).resolve().name)
        return root + ("" if self.crop_ratio is None else f"-crop{self.crop_ratio:g}")


@dataclass(frozen=True, kw_only=True)
class Eval(Verb):
    """accuracy on labelled pictures: top-1, top-5, each class, and which class is taken for which"""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """a run folder, a .safetensors file, a model's name, or timm:NAME"""
    data: EvalData = field(default_factory=EvalData)
    protocol: Literal["top1"] = "top1"
    out: Path | None = None
    """where figures/ goes; default the run folder, if the model is one"""
    device: Device = "auto"

    def run(self) -> dict[str, Any]:
        """Evaluate, draw the confusion matrix, and return the numbers."""
        from resmlp.data import EvalBatches
        from resmlp.deploy import load
        from resmlp.evaluate import classify

        predictor = load(self.model, self.device)
        if self.data.crop_ratio is not None:
            predictor = predictor.with_crop(self.data.crop_ratio)
        images, classes = _match(open_pictures(self.model, self.data), predictor)
        warn_untrained(self.model, predictor.saved.trained)
        options = (predictor.preprocessing, self.data.batch_size, self.data.workers)
        unreadable: list[str] = []

        def batches():
            for batch in EvalBatches(images, *options, strict=self.data.strict):
                unreadable.extend(batch["unreadable"])
                yield batch

        tally = classify(predictor.logits, batches(), len(classes), "cpu")
        result = dict(tally.scores()) | {
            "pictures": tally.pictures,
            "per_class": dict(zip(classes, tally.per_class())),
            "unreadable": unreadable,
        }
        out = self.out or (Path(self.model) if Path(self.model).is_dir() else None)
        if out and tally.pictures:
            result["figures"] = _draw(out, self.data.suffix(), tally, images, predictor)
        if not self.json:
            _show(result)
        return result


def open_pictures(model: str, data: EvalData) -> "ImageSet":
    """The pictures at `data.root`; without one, or at the root that a run was trained on, those the run held out."""
    from resmlp.data import open_eval, open_splits

    trained = Path(model) / "recipe.json"
    own = from_dict(Recipe, read_json(trained)).data if trained.is_file() else None
    if own and (data.root is None or (own.root and Path(own.root).resolve() == Path(data.root).resolve())):
        return open_splits(own).val
    if data.root is None:
        raise UserError(f"nothing to evaluate {model} on", "give --data.root, an ImageFolder tree")
    if own and own.source != "digits":
        return open_eval(replace(own, root=data.root))
    return open_eval(Data(root=data.root))


def _match(images: "ImageSet", predictor: "Predictor") -> tuple["ImageSet", tuple[str, ...]]:
    """The pictures with the model's own class numbers, by the classes' names; and the names."""
    import torch

    ours, theirs = predictor.classes, images.classes
    if ours:
        number = {name: i for i, name in enumerate(ours)}
        unknown = [name for name in theirs if name not in number]
        if unknown:
            names = ", ".join(unknown[:5])
            raise UserError(f"the model knows no class {names}", f"it knows {', '.join(ours[:5])}, ...")
        return replace(images, classes=ours, labels=[number[theirs[label]] for label in images.labels]), ours
    size = predictor.preprocessing.size
    in_model = predictor.logits(torch.zeros(1, 3, *size, dtype=torch.uint8)).shape[1]
    if in_model != len(theirs):
        counts = f"{len(theirs)} classes in the pictures, {in_model} in the model"
        raise UserError(counts, "fine-tune it on these classes: resmlp train finetune")
    return images, theirs


def _draw(out: Path, suffix: str, tally: "Tally", images: "ImageSet", predictor: "Predictor") -> list[str]:
    """Draw the confusion matrix and some predictions, and put them into the run's report."""
    from resmlp.analysis import confusion, predictions, write_report
    from resmlp.data import UnreadableImage

    paths = [out / "figures" / name for name in (f"confusion{suffix}.png", f"predictions{suffix}.png")]
    confusion(tally.confusion, images.classes, paths[0])
    shown = []
    for i in range(0, len(images), max(len(images) // SHOWN, 1)):
        with contextlib.suppress(UnreadableImage):
            shown.append((images.read(i), images.classes[images.labels[i]]))
    pictures, truths = zip(*shown[:SHOWN])
    ranked = predictor.rank(pictures, top=1)
    guesses = [r.labels[0] if predictor.classes else images.classes[int(r.labels[0])] for r in ranked]
    predictions(pictures, truths, guesses, [r.probabilities[0] for r in ranked], paths[1])
    if (out / "recipe.json").is_file():
        write_report(out)
    return [str(path) for path in paths]


def _show(result: dict[str, Any]) -> None:
    """The numbers for people; the classes from the worst to the best."""
    print(f"top1 {result['top1']:.4f}  top5 {result['top5']:.4f}  on {result['pictures']:,} pictures")
    known = sorted((score, name) for name, score in result["per_class"].items() if score is not None)
    for score, name in known[:20]:
        print(f"  {score:.3f}  {name}")
    if len(known) > 20:
        print(f"  ... and {len(known) - 20} better classes (--json lists all)")
    for name in result["unreadable"]:
        print(f"  left out, cannot be read: {name}")
    for figure in result.get("figures", ()):
        print(f"drawn: {figure}")
