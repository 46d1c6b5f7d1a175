"""`resmlp embed`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from resmlp.cli.base import Device, RunSize, Verb, print_text
from resmlp.cli.progress import progress_bar
from resmlp.config.label_table import LabelTable
from resmlp.config.precision import PrecisionChoice
from resmlp.utils.checks import ANY, check_range, demand


@dataclass(frozen=True, kw_only=True)
class Embed(Verb):
    """features of every image in a folder or archive, for other programs, and a map of them"""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """a run folder, a weight file, a model's name, timm:NAME, or pixels"""
    path: Annotated[Positional[str], arg(metavar="PATH")]
    """a folder or archive of images, of any depth, or a packed data set"""
    out: Annotated[Path | None, arg(metavar="FILE")] = None
    """FILE.npy, with FILE.json beside it, or FILE.parquet: in parts, by any number of processes; the same command
    continues it"""
    map: Annotated[Path | None, arg(metavar="FILE.png")] = None
    """draw the features as points of a plane (t-SNE), colored by class folder"""
    data: LabelTable = field(default_factory=LabelTable)
    batch_size: int = 64
    workers: int = 2
    img_size: RunSize = None
    device: Device = "auto"
    precision: PrecisionChoice = "auto"
    """of the products: fp32, bf16, or auto, the fastest that this device has and that keeps the features, measured
    from 1,024 images on"""

    def __post_init__(self) -> None:
        check_range("--", self, batch_size=(1, ANY), workers=(0, ANY))
        nowhere = "nowhere to write the features"
        demand(bool(self.out or self.map), nowhere, "give --out FILE.npy or FILE.parquet, or --map")

    def run(self) -> dict[str, Any]:
        """Write the features; of several processes the first prints, or of a Parquet file the one that ends last."""
        from resmlp.evaluation.batch_inference.run import is_parquet
        from resmlp.evaluation.embed import embed

        with progress_bar(is_parquet(self.out)) as bar:
            result = embed(
                self.model,
                self.path,
                self.out,
                self.map,
                batch_size=self.batch_size,
                workers=self.workers,
                device=self.device,
                precision=self.precision,
                data=self.data,
                img_size=self.img_size,
                progress=bar,
            )
        if result and not self.json:
            print_text(result)
        return result.to_dict() if result else {}
