"""Frozen features: k-NN and linear probes, by labeled training images."""

from statistics import median
from typing import TYPE_CHECKING

from resmlp.evaluation.evaluator import Evaluator, Scores
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from resmlp.metrics import Collected

DEPTHS = (1, 4)


def knn(evaluator: Evaluator) -> Scores:
    """Top-1 and top-5 by the nearest of the training images; `knn` is that of k = 20, or of the largest k."""
    from resmlp.metrics import bootstrap, valid_ks
    from resmlp.metrics import knn as by_neighbors

    numbers = _numbers(evaluator)
    ks = valid_ks(evaluator.knn.k or None, len(evaluator.training_images))

    def scores() -> Scores:
        train, test = evaluator.features(evaluator.training_images), evaluator.features(evaluator.images)
        usable = int(train.value.isfinite().all(1).sum())
        own = evaluator.knn.k or [k for k in ks if k <= usable] or None  # some may not be readable
        options = (own, evaluator.knn.temperature)
        for name, value in by_neighbors(train.value, train.label, test.value, numbers[test.label], *options):
            yield name, value
            if name == "knn":
                yield "knn_interval", bootstrap(round(value * len(test.label)), len(test.label))
        yield from _counted(train, test)

    return scores()


def linear(evaluator: Evaluator) -> Scores:
    """The linear classifier whose learning rate and depth are the best on held-out training images; the whole grid.

    `linear_upper_bound` is the best of the grid on the evaluated images: nobody could have known which one it is.
    """
    from resmlp.metrics import bootstrap
    from resmlp.metrics import linear as by_classifiers
    from resmlp.metrics.linear_probe import Settings, choose

    numbers, options = _numbers(evaluator), evaluator.linear
    layers = evaluator.depths(options.layers or DEPTHS, strict=bool(options.layers))

    def scores() -> Scores:
        train = evaluator.features(evaluator.training_images, max(layers), flipped=True)
        test = evaluator.features(evaluator.images, max(layers))
        views = train.value.view(len(train.label), 2, -1).transpose(0, 1)  # 2 N D
        settings = Settings(options.lr, options.epochs, options.batch_size, options.seed)
        device = evaluator.process.device
        held_out = []
        if len(layers) * len(settings.learning_rates) > 1:
            held_out = [member.top1 for member in choose(views, train.label, layers, settings, device)]
        grid = by_classifiers(views, train.label, test.value, numbers[test.label], layers, settings, device)
        chosen = grid[held_out.index(max(held_out))] if held_out else grid[0]  # of equal ones the first
        yield "linear", chosen.top1
        yield "linear_interval", bootstrap(round(chosen.top1 * len(test.label)), len(test.label))
        yield "linear_top5", chosen.top5
        yield "linear_upper_bound", max(member.top1 for member in grid)
        yield "linear_median", median(member.top1 for member in grid)
        yield "linear_lr", chosen.lr
        yield "linear_layers", chosen.layers
        scored = [{"held_out_top1": score} for score in held_out] or [{}]
        yield "linear_grid", [member._asdict() | score for member, score in zip(grid, scored)]
        yield from _counted(train, test)

    return scores()


def _numbers(evaluator: Evaluator) -> "Tensor":
    """For each class of the images its number among those that are learned from, by name: int64 K.

    Raises `UserError` where there is a single class, an unknown one, or an image that is to be learned from as well.
    """
    import torch

    from resmlp.data.images.label_sets import EVALUATE_ONE, require_one_label

    training, images = evaluator.training_images, evaluator.images
    for labeled in (training, images):
        require_one_label(labeled, EVALUATE_ONE)
    number = {name: i for i, name in enumerate(training.classes)}
    demand(len(number) > 1, f"the training images are of one class, {training.classes[0]}", "there is nothing to tell")
    unknown = [name for name in images.classes if name not in number]
    if unknown:
        raise UserError(
            f"no training image is of class {', '.join(unknown[:5])}", f"they are of {', '.join(training.classes[:5])}"
        )
    known = {training.name(i) for i in range(len(training))}
    both = [name for name in map(images.name, range(len(images))) if name in known]
    hint = "give --train PATH, or a --data.root with train/ and val/"
    demand(not both, f"{len(both):,} images are to be learned from and evaluated on, as {(both or [''])[0]}", hint)
    return torch.tensor([number[name] for name in images.classes], dtype=torch.int64)


def _counted(train: "Collected", test: "Collected") -> Scores:
    """How many images were counted, and what was wrong with any."""
    yield "images", len(test.index)
    yield "train_images", len(train.index)
    yield "unreadable", list(test.unreadable)
    yield "train_unreadable", list(train.unreadable)
    if bad := int((~test.value.isfinite().all(1)).sum()):
        yield "not_finite", bad
