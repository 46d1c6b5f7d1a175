"""Schedules: curves between two numbers, as functions of the progress from 0 to 1."""

import math


def cosine(start: float, end: float, progress: float) -> float:
    """Half a cosine from `start` at progress 0 to `end` at progress 1; constant after it."""
    return end + (start - end) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2


def poly(start: float, end: float, progress: float, power: float) -> float:
    """(1 - progress) ** power, from `start` at progress 0 to `end` at progress 1; constant after it."""
    return end + (start - end) * (1 - min(progress, 1.0)) ** power


def linear(start: float, end: float, progress: float) -> float:
    """A straight line from `start` at progress 0 to `end` at progress 1; constant after it."""
    return start + (end - start) * min(progress, 1.0)
