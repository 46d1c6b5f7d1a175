"""Evaluation: what is said of each picture, counted against its answers."""

from resmlp.evaluate.answers import read_indices, read_real, real_answers
from resmlp.evaluate.classify import MATRIX_LIMIT, Ranking, Tally, classify, gather, rank
from resmlp.evaluate.interval import bootstrap

__all__ = [
    "MATRIX_LIMIT",
    "Ranking",
    "Tally",
    "bootstrap",
    "classify",
    "gather",
    "rank",
    "read_indices",
    "read_real",
    "real_answers",
]
