"""Evaluation: what is said of each picture, counted against its answers."""

from resmlp.evaluate.answers import read_indices, read_real, real_answers
from resmlp.evaluate.classify import MATRIX_LIMIT, Collected, Ranking, Tally, classify, collect, gather, rank
from resmlp.evaluate.features import Pixels, extract, features, last_layers, pooled
from resmlp.evaluate.interval import bootstrap
from resmlp.evaluate.linear import RATES, linear
from resmlp.evaluate.neighbours import fitting, knn

__all__ = [
    "MATRIX_LIMIT",
    "RATES",
    "Collected",
    "Pixels",
    "Ranking",
    "Tally",
    "bootstrap",
    "classify",
    "collect",
    "extract",
    "features",
    "fitting",
    "gather",
    "knn",
    "last_layers",
    "linear",
    "pooled",
    "rank",
    "read_indices",
    "read_real",
    "real_answers",
]
