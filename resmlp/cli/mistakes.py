"""`resmlp mistakes`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from resmlp.cli.base import Device, Verb, print_text
from resmlp.config.evaluation import EvalData
from resmlp.config.precision import PrecisionChoice
from resmlp.utils.checks import ANY, check_range


@dataclass(frozen=True, kw_only=True)
class Mistakes(Verb):
    """the worst errors of a classifier and the labels that are probably wrong, as a page with thumbnails and a table"""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """a run folder, a weight file, a name of `resmlp list weights`, hf-hub:ORG/NAME, or timm:NAME"""
    data: EvalData = field(default_factory=EvalData)
    out: Annotated[Path | None, arg(metavar="DIR")] = None
    """where mistakes.html, mistakes.json and mistakes.csv go; default the run folder"""
    fiftyone: Annotated[Path | None, arg(metavar="DIR")] = None
    """where ground_truth.json and predictions.json go, which FiftyOne imports; the images stay where they are"""
    count: int = 100
    """of each kind on the page; the other files have all"""
    device: Device = "auto"
    precision: PrecisionChoice | None = None
    """of the products, as of resmlp eval"""

    def __post_init__(self) -> None:
        check_range("--", self, count=(1, ANY))

    def run(self) -> dict[str, Any]:
        """Find them and write the files."""
        from resmlp.evaluation.mistakes import mistakes

        result = mistakes(
            self.model,
            None,
            self.out,
            count=self.count,
            data=self.data,
            device=self.device,
            precision=self.precision,
            fiftyone=self.fiftyone,
        )
        if not self.json:
            print_text(result)
        return result.to_dict()
