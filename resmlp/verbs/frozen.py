"""The protocols of `resmlp eval` that measure the features of a frozen network by other pictures with labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from resmlp.checks import ANY, POSITIVE, check_range, demand
from resmlp.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from resmlp.evaluate import Collected
    from resmlp.verbs.exam import Exam

Found = Iterator[tuple[str, Any]]

DEPTHS = (1, 4)


@dataclass(frozen=True)
class Knn:
    """The nearest neighbours that vote."""

    k: tuple[int, ...] = ()
    """how many; default 10 20 100 200, as far as there are so many training pictures"""
    temperature: float = 0.07
    """a vote counts exp(cosine / temperature)"""

    def __post_init__(self):
        check_range("--knn.", self, k=(1, ANY), temperature=(0.001, ANY))


@dataclass(frozen=True)
class Linear:
    """The grid of linear classifiers."""

    lr: tuple[float, ...] = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    """learning rates"""
    layers: tuple[int, ...] = ()
    """of how many of the last layers it sees the features; default 1 4, as far as the network has them"""
    epochs: int = 100
    """times that it sees each training picture, or its mirror image"""
    batch_size: int = 256
    seed: int = 0

    def __post_init__(self):
        demand(bool(self.lr), "--linear.lr names nothing", "give one or more")
        check_range("--linear.", self, lr=(POSITIVE, ANY), layers=(1, ANY), seed=(0, 2**63 - 1))
        check_range("--linear.", self, epochs=(1, ANY), batch_size=(1, ANY))


def knn(exam: "Exam") -> Found:
    """Top-1 and top-5 by the nearest of the training pictures; `knn` is that of k = 20, or of the largest k."""
    from resmlp.evaluate import bootstrap, fitting
    from resmlp.evaluate import knn as by_neighbours

    numbers = _numbers(exam)
    ks = fitting(exam.knn.k or None, len(exam.learned_from))

    def count() -> Found:
        train, test = exam.features(exam.learned_from), exam.features(exam.images)
        usable = int(train.value.isfinite().all(1).sum())
        own = exam.knn.k or [k for k in ks if k <= usable] or None  # some may not be readable
        options = (own, exam.knn.temperature)
        for name, value in by_neighbours(train.value, train.label, test.value, numbers[test.label], *options):
            yield name, value
            if name == "knn":
                yield "knn_interval", bootstrap(round(value * len(test.label)), len(test.label))
        yield from _counted(train, test)

    return count()


def linear(exam: "Exam") -> Found:
    """The best of a grid of linear classifiers, chosen on the evaluated pictures, and the whole grid."""
    from resmlp.evaluate import bootstrap
    from resmlp.evaluate import linear as by_classifiers
    from resmlp.evaluate.linear import Settings

    numbers, options = _numbers(exam), exam.linear
    layers = exam.depths(options.layers or DEPTHS, strict=bool(options.layers))

    def count() -> Found:
        train = exam.features(exam.learned_from, max(layers), flipped=True)
        test = exam.features(exam.images, max(layers))
        views = train.value.view(len(train.label), 2, -1).transpose(0, 1)  # 2 N D
        settings = Settings(options.lr, options.epochs, options.batch_size, options.seed)
        labels = train.label, numbers[test.label]
        grid = by_classifiers(views, labels[0], test.value, labels[1], layers, settings, exam.place.device)
        best = max(grid, key=lambda member: member.top1)  # of equal ones the first
        yield "linear", best.top1
        yield "linear_interval", bootstrap(round(best.top1 * len(test.label)), len(test.label))
        yield "linear_top5", best.top5
        yield "linear_median", median(member.top1 for member in grid)
        yield "linear_lr", best.lr
        yield "linear_layers", best.layers
        yield "linear_grid", [member._asdict() for member in grid]
        yield from _counted(train, test)

    return count()


def _numbers(exam: "Exam") -> "Tensor":
    """For each class of the pictures its number among those that are learned from, by name: int64 K.

    Raises `UserError` where there is a single class, an unknown one, or a picture that is to be learned from as well.
    """
    import torch

    learned, images = exam.learned_from, exam.images
    number = {name: i for i, name in enumerate(learned.classes)}
    demand(len(number) > 1, f"the training pictures are of one class, {learned.classes[0]}", "there is nothing to tell")
    unknown = [name for name in images.classes if name not in number]
    if unknown:
        raise UserError(
            f"no training picture is of class {', '.join(unknown[:5])}", f"they are of {', '.join(learned.classes[:5])}"
        )
    known = {learned.name(i) for i in range(len(learned))}
    both = [name for name in map(images.name, range(len(images))) if name in known]
    hint = "give --train PATH, or a --data.root with train/ and val/"
    demand(not both, f"{len(both):,} pictures are to be learned from and evaluated on, as {(both or [''])[0]}", hint)
    return torch.tensor([number[name] for name in images.classes], dtype=torch.int64)


def _counted(train: "Collected", test: "Collected") -> Found:
    """How many pictures were counted, and what was wrong with any."""
    yield "pictures", len(test.index)
    yield "train_pictures", len(train.index)
    yield "unreadable", list(test.unreadable)
    yield "train_unreadable", list(train.unreadable)
    if bad := int((~test.value.isfinite().all(1)).sum()):
        yield "not_finite", bad
