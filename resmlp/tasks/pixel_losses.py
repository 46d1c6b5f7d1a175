"""Losses of segmentation. B images of H x W pixels, K classes; a pixel with the label `IGNORED` counts for nothing.

With several processes, each is the share of one of them: the mean of the shares, and of their gradients, is the loss
of the pixels of all.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from resmlp.data import IGNORED
from resmlp.utils.devices import all_mean, process_count

TINY = 1e-12  # below the weight of a pixel
GAMMA = 2.0
"""of the focal loss: the best of Lin et al. 2017, Table 1b"""

PixelLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""logits B K H W, labels B H W, weights of the classes K -> a scalar"""


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Mean cross-entropy of the labeled pixels, weighted by class; 0 if no pixel is labeled."""
    loss = F.cross_entropy(logits.float(), labels.long(), weights, ignore_index=IGNORED, reduction="sum")
    return loss / _total_weight(labels, weights)


def focal(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The same times (1 - p) ** `GAMMA`, which is small for pixels that are right (Lin et al. 2017, equation 5)."""
    each = F.cross_entropy(logits.float(), labels.long(), ignore_index=IGNORED, reduction="none")  # B H W, -log p
    loss = (1 - (-each).exp()) ** GAMMA * each * _pixel_weights(labels, weights)
    return loss.sum() / _total_weight(labels, weights)


def dice(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """1 - the mean Dice coefficient, 2 sum(p g) / (sum(p^2) + sum(g^2)), of the classes that the labels have.

    The sums are over the labeled pixels of all images, p is the probability of the class and g whether it is the label
    (Milletari et al. 2016, section 3). `weights` have no effect: each class counts the same. 0 if no pixel is labeled.
    """
    known = (labels != IGNORED).unsqueeze(1)
    p = logits.float().softmax(1) * known
    g = F.one_hot(labels.long().where(labels != IGNORED, 0), logits.shape[1]).movedim(-1, 1) * known
    sums = torch.stack([part.sum((0, 2, 3)) for part in (p * g, p * p, g.float())])  # 3 K
    count = process_count()
    total = sums + (count * all_mean(sums.detach().clone()) - sums).detach()  # of all processes, own gradient
    both, predicted, true = total
    present = true > 0
    coefficients = 2 * both / (predicted + true).clamp(min=TINY)
    loss = ((1 - coefficients) * present).sum() / present.sum().clamp(min=1)
    return loss + (count - 1) * (loss - loss.detach())  # the mean over processes divides the gradient


def cross_entropy_and_dice(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The sum of both."""
    return cross_entropy(logits, labels, weights) + dice(logits, labels, weights)


PIXEL_LOSSES: dict[str, PixelLoss] = {
    "ce": cross_entropy,
    "focal": focal,
    "dice": dice,
    "ce+dice": cross_entropy_and_dice,
}
"""the values of --task.loss"""


def _pixel_weights(labels: Tensor, weights: Tensor) -> Tensor:
    """The weight of each pixel, B H W; 0 where it is ignored."""
    return weights.take(labels.long().clamp(max=len(weights) - 1)).masked_fill(labels == IGNORED, 0)


def _total_weight(labels: Tensor, weights: Tensor) -> Tensor:
    """The mean over processes of the weight of their pixels."""
    return all_mean(_pixel_weights(labels, weights).sum()).clamp(min=TINY)
