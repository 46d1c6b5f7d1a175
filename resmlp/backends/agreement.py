"""Whether a lower precision keeps the answers: outputs of the same images, B K, compared with those of fp32."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from resmlp.backends.autotune import Engine
from resmlp.utils.errors import counted, notice

TOP1, DIFFERENCE = 0.995, 0.02
"""the least share of equal top-1, and the largest difference of an output in the range of all"""


class Agreement(NamedTuple):
    """How near the outputs of two networks are."""

    compared: int
    top1: float
    """share with the same largest output"""
    difference: float
    """largest difference of an output, as a fraction of the range of the outputs"""
    of: str = "image"
    """what is counted"""

    @property
    def holds(self) -> bool:
        """Whether the answers are kept; not where anything is not a number."""
        return self.top1 >= TOP1 and self.difference < DIFFERENCE

    def __str__(self) -> str:
        same = f"top-1 agrees on {100 * self.top1:.1f} % of {counted(self.compared, self.of)}"
        return f"{same}, outputs differ by at most {100 * self.difference:.1f} % of their range"


def agreement(reference: np.ndarray, outputs: np.ndarray, of: str = "image") -> Agreement:
    """Of outputs B K with those of fp32; B are images, or what `of` says."""
    extent = float(np.ptp(reference)) or 1.0
    same = float((reference.argmax(1) == outputs.argmax(1)).mean())
    return Agreement(len(reference), same, float(np.abs(outputs - reference).max()) / extent, of)


def keep_agreeing(engines: Sequence[Engine], batches: Callable[[], Iterable[np.ndarray]]) -> list[Engine]:
    """The engines of fp32, and those of a lower precision whose answers agree on `batches` of images B 3 H W.

    The first engine is of fp32; if it is not, a lower precision was asked for, and nothing is compared. An engine that
    is left out is named on standard error, with the reason.
    """
    lower = [engine for engine in engines if engine.precision != "fp32"]
    if not lower or engines[0] in lower:
        return list(engines)
    reference = outputs_of(engines[0], batches)
    found = {id(engine): agreement(reference, outputs_of(engine, batches)) for engine in lower}
    for engine in lower:
        if not found[id(engine)].holds:
            notice(f"{engine.name} is not used in {engine.precision}: {found[id(engine)]}")
    return [engine for engine in engines if id(engine) not in found or found[id(engine)].holds]


def outputs_of(engine: Engine, batches: Callable[[], Iterable[np.ndarray]]) -> np.ndarray:
    """B K, of all batches."""
    return np.concatenate([engine.run(images) for images in batches()])
