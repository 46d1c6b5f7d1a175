"""`mistakes()`: the worst errors of a classifier on labeled images, and the labels that are probably wrong."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from resmlp.analysis.mistakes_page import Mistake, Mistakes, render
from resmlp.config.evaluation import EvalData
from resmlp.config.model_json import AnyExport
from resmlp.config.precision import Execution
from resmlp.evaluation.datasets import open_eval_images
from resmlp.evaluation.evaluator import Evaluator
from resmlp.evaluation.fiftyone import check_fiftyone, fiftyone_writes
from resmlp.evaluation.label_problems import Problem, problems
from resmlp.hub.resolve import Source, resolve
from resmlp.utils.ahead import ahead
from resmlp.utils.checks import demand
from resmlp.utils.errors import counted, notice
from resmlp.utils.files import check_writable, write_json, write_text, write_together

if TYPE_CHECKING:
    from resmlp.data import ImageSet
    from resmlp.metrics import Collected

MOST = 2**28
"""probabilities, of all images together: 1 GiB"""
DATA = EvalData()
SMALLEST = 1e-12
"""probability in a logarithm"""
Ranked = tuple[float, Mistake]
"""a key to sort by, and the mistake"""


def mistakes(
    model: str | Path | Source,
    root: str | Path | None = None,
    out: Path | None = None,
    *,
    count: int = 100,
    data: EvalData = DATA,
    device: str = "auto",
    precision: str | None = None,
    fiftyone: Path | None = None,
) -> Mistakes:
    """Find the mistakes of a MODEL on the images that its run held out, or on those at `root`.

    Writes mistakes.html, with thumbnails of the `count` worst of both kinds, and mistakes.json and mistakes.csv with
    all of them, into `out`, by default the run folder; the same for FiftyOne into the folder `fiftyone`. Labels are
    judged by confident learning, which needs images that the network was not trained on. With several labels for each
    image, an image and a class are one label, which says yes or no; there are no files for FiftyOne. Raises
    `UserError`.
    """
    source = resolve(model)
    data = data if root is None else replace(data, root=str(root))
    folder = out or source.folder
    demand(folder is not None, f"{source} is no run folder: nowhere to write", "give --out DIR")
    assert folder is not None
    page = folder / "mistakes.html"
    check_writable(f"--out {folder}", page)
    opening = ahead(open_eval_images, source, data)
    from resmlp.utils.devices import this_process

    with this_process(device) as process:
        own = process.device.type == "cpu" and precision is None and not isinstance(source.config, AnyExport)
        execution = Execution(device, "folded" if own else None, precision)  # the fastest without measuring
        evaluator = Evaluator(source, data, process, execution=execution)
        evaluator.open_images = opening
        if fiftyone:
            check_fiftyone(evaluator, fiftyone)
        found = _find(evaluator, page)
    shown = replace(found, errors=found.errors[:count], wrong_labels=found.wrong_labels[:count])
    _write(evaluator, found, shown, fiftyone)
    return shown


def _find(evaluator: Evaluator, page: Path) -> Mistakes:
    """All mistakes."""
    judge, images, classes = problems(evaluator), evaluator.images, evaluator.num_classes
    many = f"{len(images):,} images of {classes:,} classes: their probabilities do not fit into memory"
    demand(len(images) * classes <= MOST, many, "give a --data.root with fewer images")
    outputs = _finite(evaluator.outputs())
    errors, doubts, labels = [], [], 0
    for problem in judge(outputs):
        labels += len(problem.labels)
        wrong, doubtful = _judged(problem, outputs.index.tolist(), images)
        errors += wrong
        doubts += doubtful
    return Mistakes(
        str(evaluator.source),
        len(outputs.index),
        _sorted(errors),
        _sorted(doubts),
        len(errors),
        len(doubts),
        outputs.unreadable,
        page,
        labels,
    )


def _finite(outputs: "Collected") -> "Collected":
    """The images with finite outputs: nothing can be said of the labels of the others."""
    kept = outputs.value.isfinite().all(1)
    if bad := int((~kept).sum()):
        notice(f"{counted(bad, 'image')} left out: the outputs of the network are not finite")
    return replace(outputs, index=outputs.index[kept], label=outputs.label[kept], value=outputs.value[kept])


def _judged(problem: Problem, index: Sequence[int], images: "ImageSet") -> tuple[list[Ranked], list[Ranked]]:
    """The wrong predictions for the images `index`, and their labels that are probably wrong; the worst sort first."""
    from resmlp.metrics.confident_learning import suspects

    names, probabilities, labels, guesses, class_name = problem
    doubts, own = suspects(probabilities, labels), probabilities[np.arange(len(labels)), labels]
    loss = -np.log(np.maximum(own, SMALLEST))

    def mistake(i: int) -> Mistake:
        return Mistake(
            images.path(index[i]),
            names[labels[i]],
            names[guesses[i]],
            round(float(probabilities[i, guesses[i]]), 4),
            round(float(own[i]), 4),
            round(float(loss[i]), 4),
            bool(doubts.wrong[i]),
            names[doubts.instead[i]] if doubts.wrong[i] else "",
            round(float(doubts.margin[i]), 4),
            index[i],
            class_name,
        )

    wrong = [(-float(loss[i]), mistake(i)) for i in np.flatnonzero(guesses != labels).tolist()]
    return wrong, [(float(doubts.margin[i]), mistake(i)) for i in np.flatnonzero(doubts.wrong).tolist()]


def _sorted(ranked: list[Ranked]) -> tuple[Mistake, ...]:
    """By their keys, equal ones as they are."""
    return tuple(one for _, one in sorted(ranked, key=lambda pair: pair[0]))


def _write(evaluator: Evaluator, found: Mistakes, shown: Mistakes, fiftyone: Path | None) -> None:
    """The page, and the files for programs; none of them is replaced before all are on the disk."""
    text = render(found, shown, evaluator.images.decoded(evaluator.preprocessing.decoding))
    each = [*found.wrong_labels, *(one for one in found.errors if not one.wrong_label)]
    table = as_csv(each)
    write_together(
        {
            found.page.with_suffix(".json"): lambda aside: write_json(aside, found.to_dict()),
            found.page.with_suffix(".csv"): lambda aside: write_text(aside, table),
            found.page: lambda aside: write_text(aside, text),
            **(fiftyone_writes(fiftyone, each, evaluator.images) if fiftyone else {}),
        }
    )


def as_csv(found: Sequence[Mistake]) -> str:
    """A table with one row for each mistake."""
    text = io.StringIO()
    columns = list(Mistake.__dataclass_fields__)
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(vars(one) for one in found)
    return text.getvalue()
