"""Collapse of self-supervised training: entropies of the teacher's outputs, and the rank of its features.

A teacher that gives all images the same output has collapsed. The loss does not show it: it is low in one case, and in
the other as high as at the start. N views, D features, K dimensions of the output.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

NEAR = 0.01  # share of log K: an entropy so close to an end of its range counts as being there
ELSEWHERE = "try another --out with"
ALWAYS = "a lower --optim.lr, a larger --data.batch-size"


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy in nats over the last dimension, with 0 log 0 = 0: ... K -> ..."""
    return torch.special.entr(probabilities).sum(-1)


def gram(features: Tensor) -> Tensor:
    """The products of all pairs of columns of N D features, divided by N: float64 D D.

    The mean over processes of equal N is the matrix of all their features.
    """
    wide = features.detach().to("cpu" if features.device.type == "mps" else features.device, torch.float64)
    return wide.T @ wide / max(len(wide), 1)


def effective_rank(products: Tensor) -> float:
    """The effective rank of features with the `gram` D D (Roy & Vetterli 2007).

    It is exp of the entropy of their singular values, scaled to sum 1: from 1, if all features are multiples of one
    vector, to D. It correlates with downstream accuracy and needs no labels (RankMe, Garrido et al. 2023). The result
    is nan if a feature is not finite.
    """
    if not products.isfinite().all():
        return math.nan
    values = torch.linalg.eigvalsh(products).clamp(min=0).sqrt()  # the eigenvalues are the squares
    return entropy(values / values.sum().clamp(min=1e-300)).exp().item()


class Collapse(NamedTuple):
    """A kind of collapse."""

    kind: str
    what: str
    """description, with the numbers"""
    hint: str
    """what to try"""


def diagnose(out_dim: int, teacher_entropy: float, mean_entropy: float) -> Collapse | None:
    """The collapse of a teacher of K = `out_dim` dimensions; None if it has not collapsed.

    `teacher_entropy` is the mean entropy of its outputs, `mean_entropy` the entropy of its mean output. The first is
    near log K if all outputs are uniform. The second is near 0 if all outputs are the same single dimension.
    """
    limit = math.log(out_dim)
    if teacher_entropy > (1 - NEAR) * limit:
        what = f"its outputs are uniform over all dimensions: entropy {teacher_entropy:.3f} of at most {limit:.3f} nats"
        hint = "a lower --task.warmup-teacher-temp and --task.teacher-temp, a higher --task.center-momentum"
        return Collapse("uniform", what, f"{ELSEWHERE} {hint}, {ALWAYS}")
    if mean_entropy < NEAR * limit:
        what = f"all its outputs are the same single dimension: entropy {mean_entropy:.3f} of at most {limit:.3f} nats"
        hint = "a lower --task.center-momentum, a higher --task.warmup-teacher-temp and --task.teacher-temp"
        return Collapse("one dimension", what, f"{ELSEWHERE} {hint}, {ALWAYS}")
    return None
