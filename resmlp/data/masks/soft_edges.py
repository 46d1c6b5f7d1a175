"""Masks whose edges have values between the classes, by antialiasing or by JPEG."""

import numpy as np

from resmlp.utils.errors import UserError

COMMON = 0.01  # least share of the pixels that have the number of a class, in a mask with two or three classes
VALUES = 8  # least numbers between those of the classes in a soft edge
FLAT = 0.2  # of such pixels, the largest share whose right and lower neighbors have the same number; more in a region


def has_soft_edges(numbers: np.ndarray) -> bool:
    """Whether the numbers H W of a mask have edges with many values between the frequent numbers.

    A rare class has regions of one number. A soft edge is a line, along which the numbers vary.
    """
    counts = np.bincount(numbers.ravel())
    common = np.flatnonzero(counts >= COMMON * numbers.size)
    if len(common) < 2:
        return False
    rare = np.flatnonzero(counts[common[0] : common[-1]]) + common[0]
    rare = np.setdiff1d(rare, common)
    if len(rare) < VALUES:
        return False
    between = np.isin(numbers, rare)
    same = np.zeros_like(between)
    same[:-1, :-1] = (numbers[:-1, :-1] == numbers[:-1, 1:]) & (numbers[:-1, :-1] == numbers[1:, :-1])
    return bool(same[between].mean() < FLAT)


def check_edges(name: str, numbers: np.ndarray) -> None:
    """Raise `UserError` if the mask `name` has soft edges."""
    if has_soft_edges(numbers):
        values = np.unique(numbers)
        what = f"the mask {name} has soft edges: {len(values)} values from {values[0]} to {values[-1]}"
        raise UserError(what, "save masks without antialiasing and never as JPEG: each pixel has the number of a class")
