"""The mistakes of a classifier as files that FiftyOne imports, without FiftyOne.

The format is fiftyone.types.FiftyOneImageClassificationDataset: `labels` has the path of an image -> its class, with a
confidence and attributes. The images stay where they are.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from resmlp.analysis.mistakes_page import Mistake
from resmlp.data import ImageSet
from resmlp.evaluation.evaluator import Evaluator
from resmlp.imaging.image_file import File, Missing
from resmlp.utils.checks import demand
from resmlp.utils.files import check_writable, write_json

GROUND_TRUTH, PREDICTIONS = "ground_truth.json", "predictions.json"


def check_fiftyone(evaluator: Evaluator, folder: Path) -> None:
    """Raise `UserError` for a folder that cannot be written, images without files, and several labels for an image."""
    several = f"--fiftyone: {evaluator.source} gives several labels to an image, and the format has one"
    demand(evaluator.predictor.threshold is None, several, "mistakes.csv has a row for each")
    images = evaluator.images
    check_writable(f"--fiftyone {folder}", folder / GROUND_TRUTH)
    other = next((image.name for image in images.images if not isinstance(image, File | Missing)), "")
    demand(
        not other, f"--fiftyone: {other} is no image file", "FiftyOne reads files: give a --data.root of class folders"
    )


def fiftyone_writes(folder: Path, mistakes: Sequence[Mistake], images: ImageSet) -> dict[Path, Callable[[Path], Any]]:
    """The two files, as of `write_together`: of the labels with their suspicion, and of the predictions."""
    truth, predictions = dict[str, Any](), dict[str, Any]()
    for one in mistakes:
        path = str(Path(images.name(one.index)).absolute())
        suspicion = {"wrong_label": one.wrong_label, "suggested": one.suggested or None, "margin": one.margin}
        truth[path] = {"label": one.label, "attributes": suspicion}
        doubts = {"label_probability": one.label_probability, "loss": one.loss}
        predictions[path] = {"label": one.predicted, "confidence": one.probability, "attributes": doubts}
    files = {GROUND_TRUTH: truth, PREDICTIONS: predictions}
    return {folder / name: partial(write_json, value={"labels": labels}) for name, labels in files.items()}
