"""Segmentation: the predicted class of each pixel against its ground truth."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from resmlp.config import Data
from resmlp.config.tasks import Segment
from resmlp.evaluation.datasets import same_root
from resmlp.evaluation.evaluator import Evaluator, Scores, open_export, open_weights
from resmlp.utils.checks import demand, demand_finite
from resmlp.utils.errors import notice
from resmlp.utils.run_folder import FIGURES, RECIPE

if TYPE_CHECKING:
    from resmlp.data import MaskSet
    from resmlp.inference import SegmentationPredictor
    from resmlp.metrics import PixelTally


def miou(evaluator: Evaluator) -> Scores:
    """mIoU, pixel accuracy, boundary F1 and each class, on a run's validation set or on other images."""
    from resmlp.data import BaseSize, EvalPairs
    from resmlp.metrics import count_pixels
    from resmlp.metrics.boundary import BoundaryTally

    predictor = open_predictor(evaluator)
    masks, process, data = open_eval_masks_of(evaluator, predictor), evaluator.process, evaluator.data
    for note in masks.notes if process.rank == 0 else ():
        notice(note)

    def scores() -> Scores:
        import torch

        boundaries = BoundaryTally.of(len(predictor.classes))
        rank = {"rank": process.rank, "world": process.world}
        fit = BaseSize(predictor.config.base_size, predictor.preprocessing.interpolation)
        pairs = EvalPairs(masks, fit, data.workers, strict=data.strict, **rank)
        with torch.inference_mode():
            tally = count_pixels(predictor.label, pairs, len(predictor.classes), boundaries.add)
        outlines = boundaries.gathered()
        if tally.images + len(tally.unreadable) != len(masks):
            raise RuntimeError(f"{tally.images} images were counted, of {len(masks)}")
        unread = f"none of the images can be read: {', '.join(tally.unreadable[:1])}"
        demand(tally.images > 0, unread, "check the files")
        demand_finite(tally.not_finite < max(tally.pixels, 1))
        yield from tally.scores()
        yield "boundary_f1", outlines.mean()
        yield "images", tally.images
        yield "unreadable", list(tally.unreadable)
        if tally.not_finite:
            yield "pixels_not_finite", tally.not_finite
        yield "per_class", dict(zip(predictor.classes, tally.per_class()))
        yield "boundary_per_class", dict(zip(predictor.classes, outlines.per_class()))
        if evaluator.out:
            yield "figures", draw(evaluator, evaluator.out, predictor, masks, tally)

    return scores()


def open_predictor(evaluator: Evaluator) -> "SegmentationPredictor":
    """The model with the weights that were asked for, on the device of this process."""
    from resmlp.config.model_json import SegmenterModelConfig
    from resmlp.inference.runners import one_precision
    from resmlp.inference.segmenter import TorchSegmentationPredictor
    from resmlp.models.at_size import segmenter_at

    demand(not evaluator.data.crop_ratio, "--data.crop-ratio: a segmenter sees the whole image", "leave it out")
    source, device = evaluator.source, evaluator.process.device
    if source.kind == "exported-segmenter":
        return open_export(evaluator)
    source.expect(SegmenterModelConfig)
    saved = segmenter_at(open_weights(source, evaluator.weights), evaluator.execution.size)
    return TorchSegmentationPredictor(saved.model, saved.config, device, one_precision(device, evaluator.execution))


def open_eval_masks_of(evaluator: Evaluator, predictor: "SegmentationPredictor") -> "MaskSet":
    """The validation set of a run, or another part of its data; or the images at another root, of the same classes.

    The run's own recipe says what labels mean; for other models the defaults do. Raises `UserError` for other classes.
    """
    from resmlp.data import open_eval_masks, open_masks
    from resmlp.data.images.image_list import read_image_list
    from resmlp.data.masks.sources import open_run_val

    own, root, split = evaluator.source.recipe, evaluator.data.root, evaluator.data.split
    task = own.task if own and isinstance(own.task, Segment) else Segment()
    classes, decoding = predictor.classes, predictor.preprocessing.decoding
    data = own.data if own else Data(source="masks", exif=decoding.exif, value_range=decoding.value_range)
    if root is not None and not same_root(data, evaluator.data):
        data = replace(data, root=root, source="masks" if data.source == "scenes" else data.source)
    what = f"nothing to evaluate {evaluator.source} on"
    demand(data.root is not None or data.source == "scenes", what, "give --data.root, with images/ and labels/ in it")
    kept = read_image_list(evaluator.source.folder) if own and split is None and data.source != "scenes" else None
    own_root = own is not None and own.data == data
    data = replace(data, exif=evaluator.data.exif or data.exif)
    masks = open_run_val(data, task, kept, classes, moved=not own_root) if kept else None
    if masks is None and own_root and split is None:
        masks = open_masks(data, replace(task, empty_classes=True)).val
    elif masks is None:
        masks = open_eval_masks(data, task, split, classes)
    for note in masks.notes if kept and evaluator.process.rank == 0 else ():
        notice(note)
    hint = "evaluate on images of the classes that it was trained on"
    demand(masks.classes == classes, f"the classes of {data.root or data.source} are not the model's", hint)
    return masks


def draw(
    evaluator: Evaluator, out: Path, predictor: "SegmentationPredictor", masks: "MaskSet", tally: "PixelTally"
) -> list[str]:
    """Draw the confusion matrix and a few images into the run's report; the paths of the figures."""
    from resmlp.analysis import confusion, write_report
    from resmlp.analysis.overlay import SHOWN, colors, draw_segmentations
    from resmlp.inference.segmenter import examples

    drawn = [out / FIGURES / f"{name}{evaluator.suffix()}.png" for name in ("confusion", "labeled")]
    confusion(tally.confusion, predictor.classes, drawn[0])
    draw_segmentations(examples(predictor, masks, SHOWN), predictor.classes, colors(predictor.config), drawn[1])
    if (out / RECIPE).is_file():
        write_report(out)
    return [str(path) for path in drawn]
