"""The protocols of `resmlp eval`, in one table: a new one is a function that yields (name, value), and a line here.

Nothing heavy is imported before a protocol runs.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from resmlp.evaluation.classification import flip, real, subset, top1, v2
from resmlp.evaluation.evaluator import Evaluator, Scores
from resmlp.evaluation.feature_probes import knn, linear
from resmlp.evaluation.multilabel import mean_average_precision
from resmlp.evaluation.segmentation import miou
from resmlp.evaluation.translation import bleu


class Protocol(NamedTuple):
    """A way to evaluate a model."""

    about: str
    """for the help"""
    run: Callable[[Evaluator], Scores]
    """checks all that can be checked before the network runs, and returns what then yields the scores"""
    needs: str | None = None
    """the file that it reads, a field of `Evaluator`"""
    optional: bool = False
    """whether it can do without that file"""


PROTOCOLS: dict[str, Protocol] = {
    "top1": Protocol("top-1, top-5, each class and the confusion matrix, by the folders' names", top1),
    "flip": Protocol("top-1 by the mean of the logits of an image and of its mirror image", flip),
    "map": Protocol(
        "several labels for each image: mean average precision, macro F1, each class", mean_average_precision
    ),
    "real": Protocol("ImageNet's validation images against the ReaL labels, --real", real, "real"),
    "v2": Protocol("ImageNet-V2, whose folders are class numbers", v2),
    "a": Protocol("ImageNet-A: 200 of the classes, --indices", partial(subset, "a"), "indices", optional=True),
    "r": Protocol("ImageNet-R: 200 of the classes, --indices", partial(subset, "r"), "indices", optional=True),
    "knn": Protocol("k-NN: the nearest training images vote by their features, --train", knn, "train", optional=True),
    "linear": Protocol("a grid of linear probes on the features, --train", linear, "train", optional=True),
    "miou": Protocol("segmentation: mean intersection over union, and each class", miou),
    "bleu": Protocol("translation against references: BLEU, chrF, exact match", bleu),
}
