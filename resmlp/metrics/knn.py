"""The k-nearest-neighbor classifier of frozen features, as in DINO (Caron et al. 2021, appendix F.1).

N training images with labels, M images to classify, D the dimension of their features, K classes.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from resmlp.utils.checks import POSITIVE, demand

KS = (10, 20, 100, 200)
REPORTED = 20  # the k of DINO's tables
ROWS, COLUMNS = 1024, 8_192  # similarities in memory; with their keys, 24 bytes each
GRAIN = 2**24  # steps of a coordinate: products are multiples of 2**-48, so that float64 sums are exact
FINE = 2**30  # steps of a cosine: smaller differences do not count
NEVER = 2**62  # rank of a class without votes
SHIFT = 2**32  # above any number of images


def knn(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    ks: Sequence[int] | None = None,
    temperature: float = 0.07,
) -> Iterator[tuple[str, float]]:
    """Top-1 and top-5 of M features, M D with labels M, by their k nearest of N D features with labels N.

    The neighbors have the largest cosines, and each votes for its class with exp(cosine / temperature). Yields
    ("knn", top-1) and ("knn_top5", ...) of k = 20, or of the largest k without it; then ("knn@10", ...) and
    ("knn@10_top5", ...) for each k. By default k is 10, 20, 100 and 200, up to N, or N if that is below 10. Raises
    `UserError` for a given k above N.

    A class without votes is never right, also if fewer than five classes have votes. Of equal cosines the image that
    comes first is nearer, of equal votes the lower class wins. A feature that is not finite is no neighbor and never
    right.
    """
    finite = train_features.isfinite().all(1)
    train_features, train_labels = train_features[finite], train_labels[finite]
    ks = valid_ks(ks, len(train_labels))
    demand(len(test_labels) > 0, "no image to classify", "check the data")
    demand(temperature >= POSITIVE, f"temperature {temperature}", "above 0")
    right = _right(train_features, train_labels, test_features, test_labels, ks, temperature)
    scores = {k: [count / len(test_labels) for count in right[k].tolist()] for k in ks}
    reported = REPORTED if REPORTED in ks else max(ks)
    for name, k in {"knn": reported, **{f"knn@{k}": k for k in ks}}.items():
        top1, top5 = scores[k]
        yield name, top1
        yield f"{name}_top5", top5


def valid_ks(ks: Sequence[int] | None, images: int) -> tuple[int, ...]:
    """The `ks` in increasing order, each once; by default those of DINO up to `images`, or `images` alone.

    Raises `UserError` for a k below 1 or above `images`.
    """
    demand(images > 0, "no training image for k-NN", "check the data")
    if ks is None:
        return tuple(k for k in KS if k <= images) or (images,)
    demand(len(ks) > 0, "k-NN without any k", "give one or more, such as 10 20")
    for k in ks:
        demand(k >= 1, f"k-NN with k = {k}", "at least 1")
        demand(k <= images, f"k-NN with k = {k}, but only {images} training images", f"at most {images}")
    return tuple(sorted(set(ks)))


def unit(features: Tensor) -> Tensor:
    """N D -> vectors of length 1, N D, rounded to steps of 2**-24, which float32 holds exactly."""
    return (normalize(features.float()) * GRAIN).round_() / GRAIN


def nearest(queries: Tensor, train: Tensor, k: int, columns: int = COLUMNS) -> tuple[Tensor, Tensor]:
    """The k largest cosines of each of the `queries`, M D, with `train`, N D, both from `unit`.

    Returns cosines, float64 M k, and positions in `train`, M k, in decreasing order; of equal cosines the lower
    position comes first. The cosines are exact, so the result does not depend on `columns`, threads and device. Tensors
    have M x `columns` elements for any N.
    """
    queries = queries.double() * FINE  # a power of 2, so that products stay exact
    cosines, keys = queries.new_zeros(len(queries), 0), train.new_zeros(len(queries), 0, dtype=torch.int64)
    for start in range(0, len(train), columns):
        chunk = queries @ train[start : start + columns].double().T
        positions = torch.arange(start, start + chunk.shape[1], device=train.device)
        own = chunk.round().long()
        torch.add(-positions, own, alpha=SHIFT, out=own)  # distinct keys have one order
        own, order = own.topk(min(k, own.shape[1]))
        cosines, keys = torch.cat([cosines, chunk.gather(1, order)], 1), torch.cat([keys, own], 1)
        keys, order = keys.topk(min(k, keys.shape[1]))
        cosines = cosines.gather(1, order)
    return cosines / FINE, -keys % SHIFT


def _right(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, ks: Sequence[int], temperature: float
) -> dict[int, Tensor]:
    """For each k, the numbers of images with the true class first and among the first five: int64 2."""
    train, classes = unit(train), int(max(train_labels.max(), test_labels.max())) + 1
    right = {k: torch.zeros(2, dtype=torch.int64, device=train.device) for k in ks}
    for queries, labels in zip(test.split(ROWS), test_labels.split(ROWS)):
        finite = queries.isfinite().all(1)
        cosines, positions = nearest(unit(queries[finite]), train, max(ks))
        weights = ((cosines - cosines[:, :1]) / temperature).exp().clamp_min(1e-300)  # above 0, which would be no vote
        for k in ks:
            rank = ranks(train_labels[positions[:, :k]], weights[:, :k], labels[finite], classes)
            right[k] += torch.stack([(rank < 1).sum(), (rank < 5).sum()])
    return right


def ranks(voted: Tensor, weights: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The rank of each true class, from 0, by votes M k for classes with weights M k; `NEVER` without votes."""
    votes = weights.new_zeros(len(labels), classes).scatter_add_(1, voted, weights)  # M K
    own = votes.gather(1, labels[:, None])
    before = torch.arange(classes, device=labels.device) < labels[:, None]
    rank = ((votes > own) | ((votes == own) & before)).sum(1)
    return rank.masked_fill(own[:, 0] == 0, NEVER)
