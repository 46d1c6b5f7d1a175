"""Weights of classes in the loss, against an imbalance of their frequencies. K classes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from resmlp.data.loading.resampling import draw_probabilities
from resmlp.utils.checks import demand

NAMED = 12  # classes in a line of the table


def class_weights(frequencies: np.ndarray, power: float) -> Tensor:
    """The weight of each class, from the class frequencies K: frequency^-power, 1 for the most frequent.

    A class that does not occur has the weight of the rarest other class. With power 1 this is the class balancing of
    SegNet, except for its median.
    """
    least = frequencies[frequencies > 0].min()
    return torch.from_numpy((frequencies.max() / np.maximum(frequencies, least)) ** power).float()


def image_weights(counts: np.ndarray, balance: float, resample: float | None) -> Tensor | None:
    """The weight of an image of each class, from the images of each class: int K -> float32 K.

    It is frequency^-balance, with mean 1 over the images of an epoch; `resample` changes how often an epoch draws each
    class, and so the mean. None if all weights are 1. Raises `UserError` if both together would make rare classes
    outweigh frequent ones.
    """
    if not balance:
        return None
    over = f"--task.balance {balance:g} and --data.resample {resample or 0:g} together exceed 1"
    demand(balance + (resample or 0) <= 1, over, "each of them balances the classes; use one, or smaller powers")
    weights = class_weights(counts / counts.sum(), balance)
    return weights / (weights.double() @ torch.from_numpy(draw_probabilities(counts, resample))).float()


def shown_by_class(names: Sequence[str], values: Sequence[float]) -> str:
    """The value of each class, of the first classes if there are many, for the table."""
    shown = ", ".join(f"{name} {value:.3g}" for name, value in zip(names[:NAMED], values))
    return shown + (", ..." if len(names) > NAMED else "")
