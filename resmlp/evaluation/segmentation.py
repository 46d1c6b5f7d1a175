"""The protocol of `resmlp eval` that compares the class of each pixel with its label."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resmlp.config import Data, Recipe
from resmlp.config.tasks import Segment
from resmlp.utils.checks import demand
from resmlp.utils.files import read_json
from resmlp.utils.serialization import from_dict

if TYPE_CHECKING:
    from resmlp.data import MaskSet
    from resmlp.evaluation.evaluator import Evaluator
    from resmlp.inference.segmenter import Labeller
    from resmlp.metrics import PixelTally

Found = Iterator[tuple[str, Any]]


def miou(evaluator: "Evaluator") -> Found:
    """Mean intersection over union, right pixels and each class, of what the run held out or of other images."""
    from resmlp.data import EvalPairs
    from resmlp.metrics import count_pixels

    labeller = open_with(evaluator)
    masks, place, data = masks_of(evaluator, labeller.classes), evaluator.place, evaluator.data

    def count() -> Found:
        import torch

        rank = {"rank": place.rank, "world": place.world}
        pairs = EvalPairs(masks, labeller.prepare, data.workers, strict=data.strict, **rank)
        with torch.inference_mode():
            tally = count_pixels(labeller.label, pairs, len(labeller.classes))
        if tally.images + len(tally.unreadable) != len(masks):
            raise RuntimeError(f"{tally.images} images were counted, of {len(masks)}")
        unread = f"none of the images can be read, as {', '.join(tally.unreadable[:1])}"
        demand(tally.images > 0, unread, "see to the files")
        yield from tally.scores()
        yield "images", tally.images
        yield "unreadable", list(tally.unreadable)
        if tally.not_finite:
            yield "pixels_not_finite", tally.not_finite
        yield "per_class", dict(zip(labeller.classes, tally.per_class()))
        if evaluator.out:
            yield "figures", draw(evaluator, evaluator.out, labeller, masks, tally)

    return count()


def open_with(evaluator: "Evaluator") -> "Labeller":
    """The model with the weights that were asked for, on this process's device."""
    from resmlp.evaluation.evaluator import kept
    from resmlp.inference.segmenter import Labeller, open_segmenter
    from resmlp.models import Weights, load_into
    from resmlp.models.weights import read_tensors

    demand(not evaluator.data.crop_ratio, "--data.crop-ratio: a segmenter sees all of an image", "leave it out")
    saved = open_segmenter(evaluator.model)
    if evaluator.weights != "best":
        file = kept(evaluator.model, evaluator.weights)
        load_into(saved.model, Weights(read_tensors(file), str(file)))
    return Labeller(saved.model, saved.card, evaluator.place.device)


def masks_of(evaluator: "Evaluator", classes: tuple[str, ...]) -> "MaskSet":
    """The images that a run held out, or another part of its data; or those at another root, of the same classes.

    What labels mean is as the run's own recipe says, or as usual. Raises `UserError` for other classes.
    """
    from resmlp.data import open_eval_masks, open_masks
    from resmlp.evaluation.evaluator import same_root

    own, root, split = own_recipe(evaluator.model), evaluator.data.root, evaluator.data.split
    task = own.task if own and isinstance(own.task, Segment) else Segment()
    data = own.data if own else Data(source="masks")
    if root is not None and not same_root(data, evaluator.data):
        data = replace(data, root=root, source="masks" if data.source == "scenes" else data.source)
    rootless = data.root is None and data.source != "scenes"
    demand(
        not rootless, f"nothing to evaluate {evaluator.model} on", "give --data.root, a folder with images/ and labels/"
    )
    if own and own.data == data and split is None:
        masks = open_masks(data, replace(task, empty_classes=True)).val
    else:
        masks = open_eval_masks(data, task, split, classes)
    hint = "evaluate on images of the classes that it was trained on"
    demand(masks.classes == classes, f"the classes of {data.root or data.source} are not the model's", hint)
    return masks


def own_recipe(model: str) -> Recipe | None:
    """What a run folder was trained by; None for any other model."""
    file = Path(model) / "recipe.json"
    return from_dict(Recipe, read_json(file)) if file.is_file() else None


def draw(evaluator: "Evaluator", out: Path, labeller: "Labeller", masks: "MaskSet", tally: "PixelTally") -> list[str]:
    """Draw who is taken for whom and a few images, and put them into the run's report; returns what was drawn."""
    from resmlp.analysis import confusion, write_report
    from resmlp.analysis.overlay import SHOWN, colors, draw_labeled
    from resmlp.inference.segmenter import examples

    drawn = [out / "figures" / f"{name}{evaluator.suffix()}.png" for name in ("confusion", "labeled")]
    confusion(tally.confusion, labeller.classes, drawn[0])
    draw_labeled(examples(labeller, masks, SHOWN), labeller.classes, colors(labeller.card), drawn[1])
    if (out / "recipe.json").is_file():
        write_report(out)
    return [str(path) for path in drawn]
