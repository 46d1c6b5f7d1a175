"""Where a run would take place."""

from dataclasses import dataclass

from resmlp.utils.checks import ANY, POSITIVE, check_range


@dataclass(frozen=True)
class Place:
    """GPUs, storage and network, and what is known of the data; None is not known."""

    gpus: int = 1
    """GPUs of all machines together"""
    gpu: str = "a100"
    """v100, a100, h100, h200, l4, l40s, rtx3090 or rtx4090"""
    mfu: float | None = None
    """share of the GPU's peak that training reaches, such as 0.3; by default from a published speed of the network"""
    images: int | None = None
    """training images; by default counted in --data.root, or those of the recipe's data set"""
    image_kb: float | None = None
    """mean size of an image file in kilobytes (1000); by default as --images"""
    storage: float | None = None
    """megabytes per second that the storage gives to all machines together"""
    network: float | None = None
    """gigabits per second of the slowest link between GPUs or machines"""

    def __post_init__(self) -> None:
        check_range("--", self, gpus=(1, 2**16), mfu=(POSITIVE, 1), images=(1, ANY), image_kb=(POSITIVE, ANY))
        check_range("--", self, storage=(POSITIVE, ANY), network=(POSITIVE, ANY))
