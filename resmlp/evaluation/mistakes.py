"""`mistakes()`: the worst errors of a classifier on labeled images, and the labels that are probably wrong."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from resmlp.analysis.mistakes_page import Mistake, Mistakes, render
from resmlp.config.evaluation import EvalData
from resmlp.config.precision import Execution
from resmlp.evaluation.classification import labels_by_name
from resmlp.evaluation.evaluator import Evaluator
from resmlp.evaluation.fiftyone import check_files, fiftyone_writes
from resmlp.hub.resolve import Source, resolve
from resmlp.utils.checks import demand
from resmlp.utils.files import check_writable, write_json, write_text, write_together

MOST = 2**28
"""probabilities, of all images together: 1 GiB"""
DATA = EvalData()
SMALLEST = 1e-12
"""probability in a logarithm"""


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
    judged by confident learning, which needs images that the network was not trained on. Raises `UserError`.
    """
    source = resolve(model)
    data = data if root is None else replace(data, root=str(root))
    folder = out or source.folder
    demand(folder is not None, f"{source} is no run folder: nowhere to write", "give --out DIR")
    assert folder is not None
    page = folder / "mistakes.html"
    check_writable(f"--out {folder}", page)
    from resmlp.utils.devices import this_process

    with this_process(device) as process:
        evaluator = Evaluator(source, data, process, execution=Execution(device, precision=precision))
        if fiftyone:
            check_files(evaluator.images, fiftyone)
        found = _find(evaluator, page)
    shown = replace(found, errors=found.errors[:count], wrong_labels=found.wrong_labels[:count])
    _write(evaluator, found, shown, fiftyone)
    return shown


def _find(evaluator: Evaluator, page: Path) -> Mistakes:
    """All mistakes."""
    from resmlp.metrics.confident_learning import suspects

    numbers, names = labels_by_name(evaluator)
    images, classes = evaluator.images, evaluator.num_classes
    many = f"{len(images):,} images of {classes:,} classes: their probabilities do not fit into memory"
    demand(len(images) * classes <= MOST, many, "give a --data.root with fewer images")
    outputs = evaluator.outputs()
    index, probabilities = outputs.index.numpy(), outputs.value.softmax(1).numpy()
    labels = np.asarray(numbers)[np.asarray(images.labels)[index]]
    rows, guesses, doubts = np.arange(len(index)), probabilities.argmax(1), suspects(probabilities, labels)
    loss = -np.log(np.maximum(probabilities[rows, labels], SMALLEST))

    def mistake(i: int) -> Mistake:
        return Mistake(
            images.path(int(index[i])),
            str(names[labels[i]]),
            str(names[guesses[i]]),
            round(float(probabilities[i, guesses[i]]), 4),
            round(float(probabilities[i, labels[i]]), 4),
            round(float(loss[i]), 4),
            bool(doubts.wrong[i]),
            str(names[doubts.instead[i]]) if doubts.wrong[i] else "",
            round(float(doubts.margin[i]), 4),
            int(index[i]),
        )

    wrong = np.flatnonzero(guesses != labels)
    doubtful = np.flatnonzero(doubts.wrong)
    errors = tuple(mistake(i) for i in wrong[np.argsort(-loss[wrong], kind="stable")])
    labeled = tuple(mistake(i) for i in doubtful[np.argsort(doubts.margin[doubtful], kind="stable")])
    return Mistakes(
        str(evaluator.source), len(index), errors, labeled, len(wrong), len(doubtful), outputs.unreadable, page
    )


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
