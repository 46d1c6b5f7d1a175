"""Classification: top-1 and top-5, also with mirror images, ImageNet-ReaL, -V2, -A and -R.

The protocols differ in the classes of the images and in the classes that may be predicted, and in nothing else.
"""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

from resmlp.evaluation.evaluator import Evaluator, Scores
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, notice

if TYPE_CHECKING:
    from resmlp.metrics import Ranking, Reliability, Tally

SHOWN = 24  # images in figures/predictions.png
IMAGENET, SUBSET = 1_000, 200  # classes of ImageNet-1k; of ImageNet-A and of ImageNet-R


def top1(evaluator: Evaluator) -> Scores:
    """Top-1 and top-5 against the folders' names, each class, calibration, and figures of the predictions."""
    from resmlp.analysis.reliability import reliability_diagram
    from resmlp.metrics import ClassScores

    numbers, names = labels_by_name(evaluator)

    def scores() -> Scores:
        tally = _tally(evaluator, numbers)
        yield from _fraction("top1", tally.top1, tally.images)
        yield from _fraction("top5", tally.top5, tally.images)
        classes, bins = ClassScores.of(tally), _reliability(evaluator.ranking(), tally)
        yield "balanced_accuracy", classes.balanced_accuracy
        yield "macro_f1", classes.macro_f1
        yield "ece", bins.ece
        yield from _counted(evaluator.ranking(), tally)
        yield "per_class", dict(zip(names, tally.per_class()))
        yield "class_scores", dict(zip(names, classes.rows()))
        yield "reliability", bins.to_dict()
        if evaluator.out:
            diagram = evaluator.out / "figures" / f"reliability{evaluator.suffix()}.png"
            reliability_diagram(bins, diagram)
            yield from _draw(evaluator, evaluator.out, tally, numbers, names, [diagram])

    return scores()


def real(evaluator: Evaluator) -> Scores:
    """Whether the likeliest class is among the answers to the image; images without an answer are left out."""
    from resmlp.metrics import real_labels

    _check_order("real", evaluator)
    path = _given(evaluator.real, "--real", "real.json of google-research/reassessed-imagenet")
    answers = real_labels(path, map(evaluator.images.name, range(len(evaluator.images))), evaluator.num_classes)

    def scores() -> Scores:
        tally, index = _tally(evaluator, range(len(evaluator.images.classes))), evaluator.ranking().index
        answered = [(said, answers[i]) for said, i in zip(tally.top[:, 0].tolist(), index.tolist()) if answers[i]]
        demand(bool(answered), f"{path} has no answer to any of the images", "it is of another set")
        yield from _fraction("real", sum(said in right for said, right in answered), len(answered))
        yield "real_images", len(answered)
        yield from _counted(evaluator.ranking(), tally)

    return scores()


def v2(evaluator: Evaluator) -> Scores:
    """Top-1 and top-5 where the folders are named by the number of the class (ImageNet-V2)."""
    _check_order("v2", evaluator)
    hint = f"ImageNet-V2's folders are class numbers; the model's are 0 to {evaluator.num_classes - 1}"
    for name in evaluator.images.classes:
        fits = re.fullmatch("[0-9]{1,9}", name) and int(name) < evaluator.num_classes
        demand(bool(fits), f"--protocol v2: a folder is called {name}", hint)

    def scores() -> Scores:
        tally = _tally(evaluator, [int(name) for name in evaluator.images.classes])
        yield from _fraction("v2", tally.top1, tally.images)
        yield from _fraction("v2_top5", tally.top5, tally.images)
        yield from _counted(evaluator.ranking(), tally)

    return scores()


def subset(key: str, evaluator: Evaluator) -> Scores:
    """Top-1 where the images are of some of the model's classes, and only these can be said (ImageNet-A, -R)."""
    numbers, columns = _in_subset(key, evaluator)

    def scores() -> Scores:
        tally = _tally(evaluator, numbers, columns)
        yield from _fraction(key, tally.top1, tally.images)
        yield from _counted(evaluator.ranking(columns), tally)

    return scores()


def flip(evaluator: Evaluator) -> Scores:
    """Top-1 by the mean of the logits of each image and of its mirror image: two views, so it is apart from `top1`."""
    numbers, _ = labels_by_name(evaluator)

    def scores() -> Scores:
        ranking = evaluator.ranking(mirrored=True)
        tally = _tally_of(ranking, numbers, evaluator.num_classes)
        yield from _fraction("flip", tally.top1, tally.images)
        yield from _counted(ranking, tally)

    return scores()


def _check_order(key: str, evaluator: Evaluator) -> None:
    """Refuse a model for which an index of ImageNet-1k cannot be the place in its output."""
    names, hint = evaluator.predictor.classes, "its answers are indices into ImageNet-1k's classes in order of wnid"
    demand(
        evaluator.num_classes <= IMAGENET, f"--protocol {key}: the model has {evaluator.num_classes:,} classes", hint
    )
    if evaluator.num_classes < IMAGENET:
        notice(
            f"--protocol {key}: the model's {evaluator.num_classes} classes are taken for the first of ImageNet-1k's"
        )
    wnids = bool(names) and all(re.fullmatch("n[0-9]{8}", name) for name in names)
    demand(not wnids or sorted(names) == list(names), f"--protocol {key}: the model's wnids are in another order", hint)


def refuse_several_labels(evaluator: Evaluator) -> None:
    """Raise `UserError` for a model that gives several labels, and for images that have several or none."""
    from resmlp.data.images.label_sets import EVALUATE_ONE, EVALUATE_SEVERAL, require_one_label

    several = getattr(evaluator.predictor, "threshold", None) is not None
    what = f"{evaluator.source} gives several labels for each image; one is needed"
    demand(not several, what, EVALUATE_SEVERAL)
    require_one_label(evaluator.images, EVALUATE_ONE)


def labels_by_name(evaluator: Evaluator) -> tuple[list[int], Sequence[str]]:
    """The model's number of each of the images' classes, by its name, and the names of all the model's classes.

    For a model that knows no names the images must have just as many classes, in their order.
    """
    ours = evaluator.predictor.classes  # the model first: one of another kind is named before its images are opened
    refuse_several_labels(evaluator)
    if ours:
        return class_numbers(ours, evaluator.images.classes), ours
    theirs = [normalize("NFC", name) for name in evaluator.images.classes]
    if evaluator.num_classes != len(theirs):
        counts = f"{len(theirs)} classes in the images, {evaluator.num_classes} in the model"
        raise UserError(counts, "fine-tune it on these classes: resmlp train finetune")
    return list(range(len(theirs))), theirs


def class_numbers(ours: Sequence[str], theirs: Sequence[str]) -> list[int]:
    """The place among the model's classes `ours` of each of the images' classes, by its name. Raises `UserError`."""
    number = {normalize("NFC", name): i for i, name in enumerate(ours)}
    names = [normalize("NFC", name) for name in theirs]
    unknown = [name for name in names if name not in number]
    what = f"the model knows no class {', '.join(unknown[:5])}"
    demand(not unknown, what, f"it knows {', '.join(ours[:5])}{', ...' * (len(ours) > 5)}")
    return [number[name] for name in names]


def _in_subset(key: str, evaluator: Evaluator) -> tuple[list[int], tuple[int, ...]]:
    """The model's number of each of the images' classes, and the numbers of the classes that can be said.

    Names decide where the model knows them; else the folders in order of name are the indices in increasing order.
    """
    from resmlp.metrics import read_indices

    if evaluator.indices:
        _check_order(key, evaluator)
    folders = len(evaluator.images.classes)
    if evaluator.predictor.classes:
        numbers = labels_by_name(evaluator)[0]
        if evaluator.indices is None:
            counts = f"--protocol {key}: {folders} class folders, of {SUBSET}"
            demand(folders == SUBSET, counts, "fewer classes are an easier task; give all, or --indices")
            return numbers, tuple(sorted(numbers))
        columns = read_indices(evaluator.indices, evaluator.num_classes)
        strange = [name for name, number in zip(evaluator.images.classes, numbers) if number not in set(columns)]
        demand(
            not strange, f"{evaluator.indices} lacks the index of {', '.join(strange[:5])}", "it is of another data set"
        )
        return numbers, tuple(columns)
    path = _given(
        evaluator.indices, "--indices", f"a text file of the {SUBSET} class indices, as the model has no class names"
    )
    columns = read_indices(path, evaluator.num_classes)
    counts = f"{folders} class folders, {len(columns)} indices in {path}"
    demand(folders == len(columns), counts, "the model has no class names, so each index needs its folder")
    return columns, tuple(columns)


def _tally(evaluator: Evaluator, numbers: Sequence[int], columns: tuple[int, ...] | None = None) -> "Tally":
    """What the model says of the images, whose folders are the classes `numbers`."""
    return _tally_of(evaluator.ranking(columns), numbers, evaluator.num_classes)


def _tally_of(ranking: "Ranking", numbers: Sequence[int], classes: int) -> "Tally":
    import torch

    from resmlp.metrics import Tally

    return Tally(torch.tensor(numbers, dtype=torch.int64)[ranking.label], ranking.top, classes)


def _reliability(ranking: "Ranking", tally: "Tally") -> "Reliability":
    """The calibration over the images with finite outputs."""
    from resmlp.metrics import reliability

    said = tally.top[:, 0]
    finite = said >= 0
    return reliability(ranking.probability[finite], (said == tally.label)[finite])


def _fraction(name: str, right: int, images: int) -> Scores:
    """An accuracy, and how far it may be off."""
    from resmlp.metrics import bootstrap

    yield name, right / max(images, 1)
    yield f"{name}_interval", bootstrap(right, images)


def _counted(ranking: "Ranking", tally: "Tally") -> Scores:
    """How many images were counted, and what was wrong with any."""
    yield "images", tally.images
    yield "unreadable", list(ranking.unreadable)
    if tally.not_finite:
        yield "not_finite", tally.not_finite


def _given(path: Path | None, flag: str, what: str) -> Path:
    """The path of a file that a protocol cannot do without."""
    if path is None:
        raise UserError(f"{flag} is not given", f"give {what}")
    return path


def _draw(
    evaluator: Evaluator,
    out: Path,
    tally: "Tally",
    numbers: Sequence[int],
    names: Sequence[str],
    others: Sequence[Path],
) -> Scores:
    """Draw the confusion matrix and some predictions, and put them into the run's report.

    Yields what was drawn, with the figures `others`.
    """
    from resmlp.analysis import confusion, predictions, write_report
    from resmlp.analysis.fonts import class_labels
    from resmlp.data import UnreadableImage
    from resmlp.metrics import MATRIX_LIMIT

    predictor = evaluator.predictor
    sources = evaluator.images.decoded(evaluator.preprocessing.decoding)
    drawn = [out / "figures" / f"predictions{evaluator.suffix()}.png", *others]
    shown = []
    for i in range(0, len(sources), max(len(sources) // SHOWN, 1)):
        with contextlib.suppress(UnreadableImage):
            shown.append((sources.read(i), names[numbers[sources.labels[i]]]))
    images, truths = zip(*shown[:SHOWN])
    ranked = predictor.rank(images, top=1)
    guesses = [r.labels[0] if predictor.classes else names[int(r.labels[0])] for r in ranked]
    label = dict(zip(names, class_labels(names)))
    truth_labels, guess_labels = ([label.get(name, name) for name in side] for side in (truths, guesses))
    predictions(images, truth_labels, guess_labels, [r.probabilities[0] for r in ranked], drawn[0])
    matrix = tally.confusion()
    if matrix is None:
        yield "not_drawn", f"the confusion matrix, of {evaluator.num_classes:,} classes: at most {MATRIX_LIMIT:,}"
    else:
        drawn.insert(0, out / "figures" / f"confusion{evaluator.suffix()}.png")
        confusion(matrix, names, drawn[0])
    if (out / "recipe.json").is_file():
        write_report(out)
    yield "figures", [str(path) for path in drawn]
