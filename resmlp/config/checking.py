"""Settings of the images that `resmlp data check` reads."""

from dataclasses import dataclass

from resmlp.config.label_table import LabelTable
from resmlp.config.preprocessing import Decoding, ValueRange, check_value_range
from resmlp.utils.checks import ANY, check_range


@dataclass(frozen=True)
class CheckedData(LabelTable):
    """Their labels, and how they are decoded."""

    value_range: ValueRange | None = None
    """as in `train`: the values that become black and white, of images with over 8 bits per channel"""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("--data.", self, value_range=(-ANY, ANY))
        check_value_range(self.value_range)

    @property
    def decoding(self) -> Decoding:
        """How an image file is decoded."""
        return Decoding(value_range=self.value_range)
