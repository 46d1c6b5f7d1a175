"""The protocol of `resmlp eval` that compares the class of each pixel with its label."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resmlp.checks import demand
from resmlp.config import Data, Recipe
from resmlp.files import read_json
from resmlp.objectives import Segment
from resmlp.serial import from_dict

if TYPE_CHECKING:
    from resmlp.data import MaskSet
    from resmlp.evaluate import PixelTally
    from resmlp.tasks.labeller import Labeller
    from resmlp.verbs.exam import Exam

Found = Iterator[tuple[str, Any]]


def miou(exam: "Exam") -> Found:
    """Mean intersection over union, right pixels and each class, of what the run held out or of other pictures."""
    from resmlp.data import EvalPairs
    from resmlp.evaluate import count_pixels

    labeller = open_with(exam)
    masks, place, data = masks_of(exam, labeller.classes), exam.place, exam.data

    def count() -> Found:
        import torch

        rank = {"rank": place.rank, "world": place.world}
        pairs = EvalPairs(masks, labeller.prepare, data.workers, strict=data.strict, **rank)
        with torch.inference_mode():
            tally = count_pixels(labeller.label, pairs, len(labeller.classes))
        if tally.pictures + len(tally.unreadable) != len(masks):
            raise RuntimeError(f"{tally.pictures} pictures were counted, of {len(masks)}")
        unread = f"none of the pictures can be read, as {', '.join(tally.unreadable[:1])}"
        demand(tally.pictures > 0, unread, "see to the files")
        yield from tally.scores()
        yield "pictures", tally.pictures
        yield "unreadable", list(tally.unreadable)
        if tally.not_finite:
            yield "pixels_not_finite", tally.not_finite
        yield "per_class", dict(zip(labeller.classes, tally.per_class()))
        if exam.out:
            yield "figures", draw(exam, exam.out, labeller, masks, tally)

    return count()


def open_with(exam: "Exam") -> "Labeller":
    """The model with the weights that were asked for, on this process's device."""
    from resmlp.models import Weights, load_into, open_segmenter
    from resmlp.models.weights import read_tensors
    from resmlp.tasks.labeller import Labeller
    from resmlp.verbs.exam import kept

    demand(not exam.data.crop_ratio, "--data.crop-ratio: a segmenter sees all of a picture", "leave it out")
    saved = open_segmenter(exam.model)
    if exam.weights != "best":
        file = kept(exam.model, exam.weights)
        load_into(saved.model, Weights(read_tensors(file), str(file)))
    return Labeller(saved.model, saved.card, exam.place.device)


def masks_of(exam: "Exam", classes: tuple[str, ...]) -> "MaskSet":
    """The pictures that a run held out, or another part of its data; or those at another root, of the same classes.

    What labels mean is as the run's own recipe says, or as usual. Raises `UserError` for other classes.
    """
    from resmlp.data import open_eval_masks, open_masks
    from resmlp.verbs.exam import same_root

    own, root, split = own_recipe(exam.model), exam.data.root, exam.data.split
    task = own.task if own and isinstance(own.task, Segment) else Segment()
    data = own.data if own else Data(source="masks")
    if root is not None and not same_root(data, exam.data):
        data = replace(data, root=root, source="masks" if data.source == "scenes" else data.source)
    rootless = data.root is None and data.source != "scenes"
    demand(not rootless, f"nothing to evaluate {exam.model} on", "give --data.root, a folder with images/ and labels/")
    if own and own.data == data and split is None:
        masks = open_masks(data, replace(task, empty_classes=True)).val
    else:
        masks = open_eval_masks(data, task, split, classes)
    hint = "evaluate on pictures of the classes that it was trained on"
    demand(masks.classes == classes, f"the classes of {data.root or data.source} are not the model's", hint)
    return masks


def own_recipe(model: str) -> Recipe | None:
    """What a run folder was trained by; None for any other model."""
    file = Path(model) / "recipe.json"
    return from_dict(Recipe, read_json(file)) if file.is_file() else None


def draw(exam: "Exam", out: Path, labeller: "Labeller", masks: "MaskSet", tally: "PixelTally") -> list[str]:
    """Draw who is taken for whom and a few pictures, and put them into the run's report; returns what was drawn."""
    from resmlp.analysis import confusion, write_report
    from resmlp.analysis.overlay import SHOWN, colours, draw_labelled
    from resmlp.tasks.segment import examples

    drawn = [out / "figures" / f"{name}{exam.suffix()}.png" for name in ("confusion", "labelled")]
    confusion(tally.confusion, labeller.classes, drawn[0])
    draw_labelled(examples(labeller, masks, SHOWN), labeller.classes, colours(labeller.card), drawn[1])
    if (out / "recipe.json").is_file():
        write_report(out)
    return [str(path) for path in drawn]
