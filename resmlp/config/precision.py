"""The precisions of inference, and how a network is to be run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from resmlp.config.image_size import Native, Size
from resmlp.utils.checks import demand
from resmlp.utils.hardware import Precision

__all__ = ["CHECKED", "Execution", "Precision", "PrecisionChoice", "Ran"]

PrecisionChoice = Literal["auto", "fp32", "bf16", "int8"]
"""auto: the fastest that the hardware has and that keeps the answers of fp32, by measurement"""
CHECKED = 512
"""images on which a precision is compared with fp32"""


@dataclass(frozen=True)
class Execution:
    """What is asked for: the device, the backend, the precision and the size of the images."""

    device: str = "auto"
    backend: str | None = None
    """None: torch, and for many images in precision auto the fastest"""
    precision: str | None = None
    """None: fp32; an exported network as it was exported"""
    images: int | None = None
    """how many will be predicted; None: many. Measuring takes the time of 1,000, so auto is fp32 by torch for fewer"""
    size: Size | Native | None = None
    """of the images; None: that of the network"""

    def __post_init__(self) -> None:
        known = ", ".join(get_args(PrecisionChoice))
        there = self.precision is None or self.precision in get_args(PrecisionChoice)
        demand(there, f"unknown precision {self.precision!r}", f"one of {known}")

    @property
    def few(self) -> bool:
        """Whether measuring would take longer than predicting."""
        return self.images is not None and self.images < 2 * CHECKED

    def among(self, present: Sequence[Precision], of: str) -> tuple[Precision, ...]:
        """The precisions to measure of those that are there, fp32 first. Raises `UserError` where it has another.

        `of` is what has them, for the message.
        """
        if self.precision is None or (self.precision == "auto" and self.few):
            return ("fp32",)
        if self.precision == "auto":
            return tuple(present)
        lacks = f"--precision {self.precision}: {of} has {' and '.join(present)}"
        hint = (
            "resmlp compress --to int8-openvino writes a network in int8"
            if self.precision == "int8"
            else "leave it out"
        )
        demand(self.precision in present, lacks, hint)
        return tuple(name for name in present if name == self.precision)


class Ran(NamedTuple):
    """What a network was run by."""

    backend: str
    precision: Precision
    instruction_set: str
    """of the CPU; the name of another device"""

    def __str__(self) -> str:
        return f"{self.backend}, {self.precision} ({self.instruction_set})"
