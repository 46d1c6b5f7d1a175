"""Labels that are probably wrong, by confident learning (Northcutt, Jiang, Chuang 2021), in NumPy.

A network is sure that an image is of class k from the probability t_k on: the mean that it gives to k for the images
with the label k (equation 2 there). An image whose likeliest sure class is not its label is suspicious: it lies off the
diagonal of the confident joint (equation 1). The probabilities must be of images that the network was not trained on.
"""

from typing import NamedTuple

import numpy as np


class Suspects(NamedTuple):
    """For each of N images, whether its label is probably wrong, and what it should be."""

    wrong: np.ndarray
    """N bool"""
    instead: np.ndarray
    """N int64: the likeliest class among those that are sure; the label itself where there is none"""
    margin: np.ndarray
    """N: probability of the label minus that of the likeliest other class; the lower, the more suspicious"""


def thresholds(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean probability of each class over the images with its label: N K, N -> K; infinite without images."""
    classes = probabilities.shape[1]
    counts = np.bincount(labels, minlength=classes)
    own = probabilities[np.arange(len(labels)), labels]
    sums = np.bincount(labels, own, minlength=classes)
    return np.divide(sums, counts, out=np.full(classes, np.inf), where=counts > 0)


def suspects(probabilities: np.ndarray, labels: np.ndarray) -> Suspects:
    """The suspicious ones among N images with probabilities N K and labels N."""
    rows = np.arange(len(labels))
    sure = np.where(probabilities >= thresholds(probabilities, labels), probabilities, -1.0)
    likeliest = sure.argmax(1)
    instead = np.where(sure[rows, likeliest] >= 0, likeliest, labels)
    others = probabilities.copy()
    others[rows, labels] = -1.0
    return Suspects(instead != labels, instead, probabilities[rows, labels] - others.max(1))
