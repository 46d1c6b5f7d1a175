"""Metrics: predictions for images, pixels and sentences, compared with the ground truth."""

from resmlp.metrics.accuracy import MATRIX_LIMIT, Collected, Ranking, Tally, bootstrap, classify, collect, rank
from resmlp.metrics.bleu import multi_bleu, translation_scores, translation_signatures
from resmlp.metrics.calibration import Reliability, reliability
from resmlp.metrics.class_scores import ClassScores
from resmlp.metrics.features import extract, features
from resmlp.metrics.imagenet_labels import read_indices, read_real, real_labels
from resmlp.metrics.knn import knn, valid_ks
from resmlp.metrics.linear_probe import LEARNING_RATES, linear
from resmlp.metrics.miou import PixelTally, count_pixels

__all__ = [
    "LEARNING_RATES",
    "MATRIX_LIMIT",
    "ClassScores",
    "Collected",
    "PixelTally",
    "Ranking",
    "Reliability",
    "Tally",
    "bootstrap",
    "classify",
    "collect",
    "count_pixels",
    "extract",
    "features",
    "knn",
    "linear",
    "multi_bleu",
    "rank",
    "read_indices",
    "read_real",
    "real_labels",
    "reliability",
    "translation_scores",
    "translation_signatures",
    "valid_ks",
]
