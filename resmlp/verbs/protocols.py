"""What `resmlp eval --protocol` knows. A protocol yields (name, value); a new one is a function and a line in a table.

Those of classification differ in the classes that the pictures belong to and in the classes that may be said, and in
nothing else. Nothing heavy is imported before one runs.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from resmlp.checks import demand
from resmlp.errors import UserError, notice
from resmlp.verbs.exam import Exam
from resmlp.verbs.frozen import knn, linear
from resmlp.verbs.segmented import miou
from resmlp.verbs.translated import bleu

if TYPE_CHECKING:
    from resmlp.evaluate import Ranking, Tally

Found = Iterator[tuple[str, Any]]

SHOWN = 24  # pictures in figures/predictions.png
IMAGENET, SUBSET = 1_000, 200  # classes of ImageNet-1k; of ImageNet-A and of ImageNet-R


class Protocol(NamedTuple):
    """A way to evaluate a model."""

    about: str
    """for the help"""
    run: Callable[[Exam], Found]
    """checks all that can be checked before the network runs, and returns what then yields the numbers"""
    needs: str | None = None
    """the file that it reads, a field of `Exam`"""
    optional: bool = False
    """whether it can do without"""


def _top1(exam: Exam) -> Found:
    """Top-1 and top-5 against the folders' names, each class, and figures of who is taken for whom."""
    numbers, names = _by_name(exam)

    def count() -> Found:
        tally = _tally(exam, numbers)
        yield from _fraction("top1", tally.top1, tally.pictures)
        yield from _fraction("top5", tally.top5, tally.pictures)
        yield from _counted(exam.ranking(), tally)
        yield "per_class", dict(zip(names, tally.per_class()))
        if exam.out:
            yield from _draw(exam, exam.out, tally, numbers, names)

    return count()


def _real(exam: Exam) -> Found:
    """Whether the likeliest class is among the answers to the picture; pictures without an answer are left out."""
    from resmlp.evaluate import real_answers

    _check_order("real", exam)
    path = _given(exam.real, "--real", "real.json of google-research/reassessed-imagenet")
    answers = real_answers(path, map(exam.images.name, range(len(exam.images))), exam.num_classes)

    def count() -> Found:
        tally, index = _tally(exam, range(len(exam.images.classes))), exam.ranking().index
        answered = [(said, answers[i]) for said, i in zip(tally.top[:, 0].tolist(), index.tolist()) if answers[i]]
        demand(bool(answered), f"{path} has no answer to any of the pictures", "it is of another set")
        yield from _fraction("real", sum(said in right for said, right in answered), len(answered))
        yield "real_pictures", len(answered)
        yield from _counted(exam.ranking(), tally)

    return count()


def _v2(exam: Exam) -> Found:
    """Top-1 and top-5 where the folders are named by the number of the class (ImageNet-V2)."""
    _check_order("v2", exam)
    hint = f"ImageNet-V2's folders are class numbers; the model's are 0 to {exam.num_classes - 1}"
    for name in exam.images.classes:
        fits = re.fullmatch("[0-9]{1,9}", name) and int(name) < exam.num_classes
        demand(bool(fits), f"--protocol v2: a folder is called {name}", hint)

    def count() -> Found:
        tally = _tally(exam, [int(name) for name in exam.images.classes])
        yield from _fraction("v2", tally.top1, tally.pictures)
        yield from _fraction("v2_top5", tally.top5, tally.pictures)
        yield from _counted(exam.ranking(), tally)

    return count()


def _subset(key: str, exam: Exam) -> Found:
    """Top-1 where the pictures are of some of the model's classes, and only these can be said (ImageNet-A, -R)."""
    numbers, columns = _in_subset(key, exam)

    def count() -> Found:
        tally = _tally(exam, numbers, columns)
        yield from _fraction(key, tally.top1, tally.pictures)
        yield from _counted(exam.ranking(columns), tally)

    return count()


PROTOCOLS: dict[str, Protocol] = {
    "top1": Protocol("top-1, top-5, each class and the confusion matrix, by the folders' names", _top1),
    "real": Protocol("ImageNet's validation pictures against the ReaL labels, --real", _real, "real"),
    "v2": Protocol("ImageNet-V2, whose folders are class numbers", _v2),
    "a": Protocol("ImageNet-A: 200 of the classes, --indices", partial(_subset, "a"), "indices", optional=True),
    "r": Protocol("ImageNet-R: 200 of the classes, --indices", partial(_subset, "r"), "indices", optional=True),
    "knn": Protocol(
        "the nearest training pictures vote by their features (DINO), --train", knn, "train", optional=True
    ),
    "linear": Protocol("a grid of linear classifiers on the features, --train", linear, "train", optional=True),
    "miou": Protocol("the class of each pixel: mean intersection over union, and each class", miou),
    "bleu": Protocol("translations against their references: BLEU, chrF, whole lines", bleu),
}

DEFAULTS = {"classifier": "top1", "segmenter": "miou", "translator": "bleu"}
"""by the kind of model, as its card says"""


def _check_order(key: str, exam: Exam) -> None:
    """Refuse a model for which an index of ImageNet-1k cannot be the place in its output."""
    names, hint = exam.predictor.classes, "its answers are indices into ImageNet-1k's classes in order of wnid"
    demand(exam.num_classes <= IMAGENET, f"--protocol {key}: the model has {exam.num_classes:,} classes", hint)
    if exam.num_classes < IMAGENET:
        notice(f"--protocol {key}: the model's {exam.num_classes} classes are taken for the first of ImageNet-1k's")
    wnids = bool(names) and all(re.fullmatch("n[0-9]{8}", name) for name in names)
    demand(not wnids or sorted(names) == list(names), f"--protocol {key}: the model's wnids are in another order", hint)


def _by_name(exam: Exam) -> tuple[list[int], Sequence[str]]:
    """The model's number of each of the pictures' classes, by its name, and the names of all the model's classes.

    For a model that knows no names the pictures must have just as many classes, in their order.
    """
    ours, theirs = exam.predictor.classes, exam.images.classes
    if ours:
        number = {name: i for i, name in enumerate(ours)}
        unknown = [name for name in theirs if name not in number]
        if unknown:
            names = ", ".join(unknown[:5])
            raise UserError(f"the model knows no class {names}", f"it knows {', '.join(ours[:5])}, ...")
        return [number[name] for name in theirs], ours
    if exam.num_classes != len(theirs):
        counts = f"{len(theirs)} classes in the pictures, {exam.num_classes} in the model"
        raise UserError(counts, "fine-tune it on these classes: resmlp train finetune")
    return list(range(len(theirs))), theirs


def _in_subset(key: str, exam: Exam) -> tuple[list[int], tuple[int, ...]]:
    """The model's number of each of the pictures' classes, and the numbers of the classes that can be said.

    Names decide where the model knows them; else the folders in order of name are the indices in increasing order.
    """
    from resmlp.evaluate import read_indices

    if exam.indices:
        _check_order(key, exam)
    folders = len(exam.images.classes)
    if exam.predictor.classes:
        numbers = _by_name(exam)[0]
        if exam.indices is None:
            counts = f"--protocol {key}: {folders} class folders, of {SUBSET}"
            demand(folders == SUBSET, counts, "fewer classes are an easier task; give all, or --indices")
            return numbers, tuple(sorted(numbers))
        columns = read_indices(exam.indices, exam.num_classes)
        strange = [name for name, number in zip(exam.images.classes, numbers) if number not in set(columns)]
        demand(not strange, f"{exam.indices} lacks the index of {', '.join(strange[:5])}", "it is of another data set")
        return numbers, tuple(columns)
    path = _given(
        exam.indices, "--indices", f"a text file of the {SUBSET} class indices, as the model has no class names"
    )
    columns = read_indices(path, exam.num_classes)
    counts = f"{folders} class folders, {len(columns)} indices in {path}"
    demand(folders == len(columns), counts, "the model has no class names, so each index needs its folder")
    return columns, tuple(columns)


def _tally(exam: Exam, numbers: Sequence[int], columns: tuple[int, ...] | None = None) -> "Tally":
    """What the model says of the pictures, whose folders are the classes `numbers`."""
    import torch

    from resmlp.evaluate import Tally

    ranking = exam.ranking(columns)
    return Tally(torch.tensor(numbers, dtype=torch.int64)[ranking.label], ranking.top, exam.num_classes)


def _fraction(name: str, right: int, pictures: int) -> Found:
    """An accuracy, and how far it may be off."""
    from resmlp.evaluate import bootstrap

    yield name, right / max(pictures, 1)
    yield f"{name}_interval", bootstrap(right, pictures)


def _counted(ranking: "Ranking", tally: "Tally") -> Found:
    """How many pictures were counted, and what was wrong with any."""
    yield "pictures", tally.pictures
    yield "unreadable", list(ranking.unreadable)
    if tally.not_finite:
        yield "not_finite", tally.not_finite


def _given(path: Path | None, flag: str, what: str) -> Path:
    """The path of a file that a protocol cannot do without."""
    if path is None:
        raise UserError(f"{flag} is not given", f"give {what}")
    return path


def _draw(exam: Exam, out: Path, tally: "Tally", numbers: Sequence[int], names: Sequence[str]) -> Found:
    """Draw the confusion matrix and some predictions, and put them into the run's report; yields what was drawn."""
    from resmlp.analysis import confusion, predictions, write_report
    from resmlp.data import UnreadableImage
    from resmlp.evaluate import MATRIX_LIMIT

    images, predictor = exam.images, exam.predictor
    drawn = [out / "figures" / f"predictions{exam.suffix()}.png"]
    shown = []
    for i in range(0, len(images), max(len(images) // SHOWN, 1)):
        with contextlib.suppress(UnreadableImage):
            shown.append((images.read(i), names[numbers[images.labels[i]]]))
    pictures, truths = zip(*shown[:SHOWN])
    ranked = predictor.rank(pictures, top=1)
    guesses = [r.labels[0] if predictor.classes else names[int(r.labels[0])] for r in ranked]
    predictions(pictures, truths, guesses, [r.probabilities[0] for r in ranked], drawn[0])
    matrix = tally.confusion()
    if matrix is None:
        yield "not_drawn", f"the confusion matrix, of {exam.num_classes:,} classes: at most {MATRIX_LIMIT:,}"
    else:
        drawn.insert(0, out / "figures" / f"confusion{exam.suffix()}.png")
        confusion(matrix, names, drawn[0])
    if (out / "recipe.json").is_file():
        write_report(out)
    yield "figures", [str(path) for path in drawn]
