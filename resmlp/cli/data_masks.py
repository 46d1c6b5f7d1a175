"""`resmlp data masks`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from resmlp.cli.base import Verb, print_text
from resmlp.cli.progress import progress_bar


@dataclass(frozen=True, kw_only=True)
class DataMasks(Verb):
    """convert masks and outlines to images/ and labels/ for training: resmlp data masks PATH --out DIR"""

    path: Annotated[Positional[str], arg(metavar="PATH")]
    """a data set in Pascal VOC's layout, Cityscapes, COCO (instances or panoptic) or LabelMe's JSON files; or one JSON
    file of COCO"""
    out: Path
    """a new folder, or one of an earlier call that was interrupted"""
    layout: Literal["voc", "city", "coco-instances", "coco-panoptic", "labelme"] | None = None
    """which of several layouts at PATH is read"""
    copy: bool = False
    """copy the images; by default they are links"""

    @classmethod
    def prepare(cls, args: list[str]) -> tuple[None, list[str]]:
        """The second word is read."""
        return None, args[1:]

    def run(self) -> dict[str, Any]:
        """Convert, and print the command that trains on the result."""
        from resmlp.data.masks.conversion.convert import convert_masks

        with progress_bar() as bar:
            step = lambda done, total: bar("masks", done, total)  # noqa: E731
            result = convert_masks(self.path, self.out, layout=self.layout, copy=self.copy, progress=step)
        if not self.json:
            print_text(result)
        return result.to_dict()
