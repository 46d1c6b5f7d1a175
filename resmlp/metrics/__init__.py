"""Evaluation: what is said of each image or sentence, counted against its answers."""

from resmlp.metrics.accuracy import MATRIX_LIMIT, Collected, Ranking, Tally, bootstrap, classify, collect, rank
from resmlp.metrics.bleu import multi_bleu, translation_scores, translation_signatures
from resmlp.metrics.features import extract, features
from resmlp.metrics.imagenet_labels import read_indices, read_real, real_answers
from resmlp.metrics.knn import fitting, knn
from resmlp.metrics.linear_probe import RATES, linear
from resmlp.metrics.miou import PixelTally, count_pixels

__all__ = [
    "MATRIX_LIMIT",
    "RATES",
    "Collected",
    "PixelTally",
    "Ranking",
    "Tally",
    "bootstrap",
    "classify",
    "collect",
    "count_pixels",
    "extract",
    "features",
    "fitting",
    "knn",
    "linear",
    "multi_bleu",
    "rank",
    "read_indices",
    "read_real",
    "real_answers",
    "translation_scores",
    "translation_signatures",
]
