"""Curves between two numbers, as functions of the share of the way that is done."""

import math


def cosine(start: float, end: float, progress: float) -> float:
    """Half a cosine from `start`, at progress 0, to `end`, from progress 1 on."""
    return end + (start - end) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2


def poly(start: float, end: float, progress: float, power: float) -> float:
    """(1 - progress) ** power from `start`, at progress 0, to `end`, from progress 1 on."""
    return end + (start - end) * (1 - min(progress, 1.0)) ** power


def line(start: float, end: float, progress: float) -> float:
    """A straight line from `start`, at progress 0, to `end`, from progress 1 on."""
    return start + (end - start) * min(progress, 1.0)
