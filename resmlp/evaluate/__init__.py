"""Evaluation: what is said of each picture or sentence, counted against its answers."""

from resmlp.evaluate.answers import read_indices, read_real, real_answers
from resmlp.evaluate.bleu import multi_bleu, translation_scores, translation_signatures
from resmlp.evaluate.classify import MATRIX_LIMIT, Collected, Ranking, Tally, classify, collect, gather, rank
from resmlp.evaluate.features import Pixels, extract, features, last_layers, pooled
from resmlp.evaluate.interval import bootstrap
from resmlp.evaluate.linear import RATES, linear
from resmlp.evaluate.miou import PixelTally, count_pixels
from resmlp.evaluate.neighbours import fitting, knn
from resmlp.evaluate.windows import sliding

__all__ = [
    "MATRIX_LIMIT",
    "RATES",
    "Collected",
    "PixelTally",
    "Pixels",
    "Ranking",
    "Tally",
    "bootstrap",
    "classify",
    "collect",
    "count_pixels",
    "extract",
    "features",
    "fitting",
    "gather",
    "knn",
    "last_layers",
    "linear",
    "multi_bleu",
    "pooled",
    "rank",
    "read_indices",
    "read_real",
    "real_answers",
    "sliding",
    "translation_scores",
    "translation_signatures",
]
