"""The k-nearest-neighbor classifier of frozen features, as in DINO (Caron et al. 2021, appendix F.1).

N images with labels, M to be classified, D the dimension of their features, K classes.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from resmlp.utils.checks import POSITIVE, demand

KS = (10, 20, 100, 200)
REPORTED = 20  # the k of DINO's tables
ROWS, COLUMNS = 1024, 8_192  # similarities at once; with their keys, 24 bytes each
GRAIN = 2**24  # of the coordinates of unit vectors: products are multiples of 2**-48, and so float64 sums are exact
FINE = 2**30  # steps in which cosines are told apart
NEVER = 2**62  # the rank of a class without a vote
SHIFT = 2**32  # more than there are images


def knn(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    ks: Sequence[int] | None = None,
    temperature: float = 0.07,
) -> Iterator[tuple[str, float]]:
    """Top-1 and top-5 by the k nearest of N features, N D with labels N, for M others, M D with labels M.

    Neighbors are those of largest cosine, and each votes for its class with exp(cosine / temperature). Yields
    ("knn", top-1) and ("knn_top5", ...) of k = 20, or else of the largest k, then ("knn@10", ...), ("knn@10_top5", ...)
    of each. By default k is 10, 20, 100 and 200, as far as there are so many images, or else N; a k that is given and
    larger than N raises `UserError`.

    A class that no neighbor voted for is never right, also where fewer than five got votes. Of equally near images
    the one that comes first is nearer, of classes with equal votes the lower number wins. A feature that is not finite
    is nobody's neighbor and never right.
    """
    finite = train_features.isfinite().all(1)
    train_features, train_labels = train_features[finite], train_labels[finite]
    ks = fitting(ks, len(train_labels))
    demand(len(test_labels) > 0, "there is no image to classify", "see to the data")
    demand(temperature >= POSITIVE, f"temperature {temperature}", "above 0")
    right = _right(train_features, train_labels, test_features, test_labels, ks, temperature)
    scores = {k: [count / len(test_labels) for count in right[k].tolist()] for k in ks}
    reported = REPORTED if REPORTED in ks else max(ks)
    for name, k in {"knn": reported, **{f"knn@{k}": k for k in ks}}.items():
        top1, top5 = scores[k]
        yield name, top1
        yield f"{name}_top5", top5


def fitting(ks: Sequence[int] | None, images: int) -> tuple[int, ...]:
    """The `ks` in increasing order, each once; by default those of DINO that `images` suffice for, or else all."""
    demand(images > 0, "there is no image to be a neighbor", "see to the data")
    if ks is None:
        return tuple(k for k in KS if k <= images) or (images,)
    demand(len(ks) > 0, "k-NN without any k", "give one or more, such as 10 20")
    for k in ks:
        demand(k >= 1, f"k-NN with k = {k}", "at least 1")
        demand(k <= images, f"k-NN with k = {k}: there are {images} training images", f"at most {images}")
    return tuple(sorted(set(ks)))


def unit(features: Tensor) -> Tensor:
    """N D of length 1, in steps of 2**-24, which float32 holds exactly."""
    return (normalize(features.float()) * GRAIN).round_() / GRAIN


def nearest(queries: Tensor, train: Tensor, k: int, columns: int = COLUMNS) -> tuple[Tensor, Tensor]:
    """The k largest cosines of each of the `queries` (M D with `train` N D, all of `unit`): cosines M k, places M k.

    In decreasing order; of equal ones the lower place comes first. The cosines are float64 and exact, so `columns`,
    threads and device change nothing. Tensors have M x `columns` elements, however large N is.
    """
    queries = queries.double() * FINE  # a power of 2: products are as exact
    cosines, keys = queries.new_zeros(len(queries), 0), train.new_zeros(len(queries), 0, dtype=torch.int64)
    for start in range(0, len(train), columns):
        found = queries @ train[start : start + columns].double().T
        places = torch.arange(start, start + found.shape[1], device=train.device)
        own = found.round().long()
        torch.add(-places, own, alpha=SHIFT, out=own)  # no two alike, and so one order
        own, order = own.topk(min(k, own.shape[1]))
        cosines, keys = torch.cat([cosines, found.gather(1, order)], 1), torch.cat([keys, own], 1)
        keys, order = keys.topk(min(k, keys.shape[1]))
        cosines = cosines.gather(1, order)
    return cosines / FINE, -keys % SHIFT


def _right(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, ks: Sequence[int], temperature: float
) -> dict[int, Tensor]:
    """For each k how many are right by the first class, and by the first five: int64 2."""
    train, classes = unit(train), int(max(train_labels.max(), test_labels.max())) + 1
    right = {k: torch.zeros(2, dtype=torch.int64, device=train.device) for k in ks}
    for queries, labels in zip(test.split(ROWS), test_labels.split(ROWS)):
        finite = queries.isfinite().all(1)
        cosines, places = nearest(unit(queries[finite]), train, max(ks))
        weights = ((cosines - cosines[:, :1]) / temperature).exp().clamp_min(1e-300)  # none so small as to be no vote
        for k in ks:
            rank = ranks(train_labels[places[:, :k]], weights[:, :k], labels[finite], classes)
            right[k] += torch.stack([(rank < 1).sum(), (rank < 5).sum()])
    return right


def ranks(voted: Tensor, weights: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Each true class's place among `classes`, from 0, by the votes M k with weights M k; `NEVER` without a vote."""
    votes = weights.new_zeros(len(labels), classes).scatter_add_(1, voted, weights)  # M K
    own = votes.gather(1, labels[:, None])
    before = torch.arange(classes, device=labels.device) < labels[:, None]
    rank = ((votes > own) | ((votes == own) & before)).sum(1)
    return rank.masked_fill(own[:, 0] == 0, NEVER)
