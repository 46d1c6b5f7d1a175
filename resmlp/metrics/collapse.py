"""Whether self-supervised training still learns: entropies of what the teacher says, the rank of its features.

A teacher that says the same of every image has collapsed, and the loss does not tell: it is low in one case, and in
the other where it began. N views, D features, K dimensions of the output.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

NEAR = 0.01  # of log K: that close to an end of its range, an entropy is taken to be there
ELSEWHERE = "try another --out with"
ALWAYS = "a lower --optim.lr, a larger --data.batch-size"


def entropy(probabilities: Tensor) -> Tensor:
    """In nats, over the last dimension; 0 log 0 counts as 0: ... K -> ..."""
    return torch.special.entr(probabilities).sum(-1)


def gram(features: Tensor) -> Tensor:
    """The products of all pairs of columns of N D features, per row: float64 D D; its mean over processes is theirs."""
    wide = features.detach().to("cpu" if features.device.type == "mps" else features.device, torch.float64)
    return wide.T @ wide / max(len(wide), 1)


def effective_rank(products: Tensor) -> float:
    """exp of the entropy of the singular values, scaled to sum 1, of the features whose `gram` D D this is.

    From 1, where all are multiples of one vector, to D (Roy & Vetterli 2007); it follows what the features are worth
    downstream, without labels (RankMe, Garrido et al. 2023). Not a number where a feature is not finite.
    """
    if not products.isfinite().all():
        return math.nan
    values = torch.linalg.eigvalsh(products).clamp(min=0).sqrt()  # the eigenvalues are the squares
    return entropy(values / values.sum().clamp(min=1e-300)).exp().item()


class Collapse(NamedTuple):
    """A way in which nothing more is learned."""

    kind: str
    what: str
    """in plain words, with the numbers"""
    hint: str
    """what to try"""


def diagnose(out_dim: int, teacher_entropy: float, mean_entropy: float) -> Collapse | None:
    """Whether a teacher of K = `out_dim` dimensions has collapsed.

    `teacher_entropy` is that of what it says of an image, on average; `mean_entropy` that of the average of what it
    says. Near log K the first tells that it is uniform, near 0 the second that it is one dimension, always the same.
    """
    limit = math.log(out_dim)
    if teacher_entropy > (1 - NEAR) * limit:
        same = "it gives every dimension the same, as one that has learned nothing yet"
        what = f"{same}, entropy {teacher_entropy:.3f} of at most {limit:.3f} nats"
        hint = "a lower --task.warmup-teacher-temp and --task.teacher-temp, a higher --task.center-momentum"
        return Collapse("uniform", what, f"{ELSEWHERE} {hint}, {ALWAYS}")
    if mean_entropy < NEAR * limit:
        what = f"it gives every image the same one dimension, entropy {mean_entropy:.3f} of at most {limit:.3f} nats"
        hint = "a lower --task.center-momentum, a higher --task.warmup-teacher-temp and --task.teacher-temp"
        return Collapse("one dimension", what, f"{ELSEWHERE} {hint}, {ALWAYS}")
    return None
