"""`resmlp export`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from resmlp.cli.base import Verb
from resmlp.config.model_config import Target
from resmlp.hub.default_out import default_out
from resmlp.hub.resolve import kind_of
from resmlp.imaging.listing import list_images
from resmlp.inference.prediction import warn_untrained
from resmlp.utils.checks import ANY, POSITIVE, check_range, demand

if TYPE_CHECKING:
    from torch import Tensor

    from resmlp.config.preprocessing import Preprocessing


@dataclass(frozen=True, kw_only=True)
class Export(Verb):
    """a network as ONNX, OpenVINO or torch.export: folded, for any number of images, compared with itself in torch"""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """a run folder, a file of weights, a name of `resmlp list weights`, or hf-hub:ORG/NAME"""
    to: Target = "onnx"
    out: Path | None = None
    """a folder; default export/ in a run folder, else export/NAME"""
    with_preprocessing: bool = False
    """the network takes uint8 pixels of its size, 0 to 255, and gives probabilities"""
    tolerance: float = 1e-4
    """largest difference of an output from the network's own in torch"""
    images: Annotated[tuple[str, ...], arg(metavar="FILE...")] = ()
    """images, or folders of them, to compare on as well"""

    def __post_init__(self):
        check_range("--", self, tolerance=(POSITIVE, ANY))

    def run(self) -> dict[str, Any]:
        """Write the files and model.json, and say how far off they are."""
        kind = kind_of(self.model)
        demand(kind == "classifier", f"{self.model} is a {kind}", "export takes classifiers")
        from resmlp.config.model_config import MODEL_JSON
        from resmlp.exporters.export import check_packages, check_place, export
        from resmlp.models import Trunk, open_model

        out = self.out or default_out(self.model, "export")
        check_packages(self.to)
        check_place(out, self.to)
        files = list_images(self.images) if self.images else []
        saved = open_model(self.model)
        demand(isinstance(saved.model, Trunk), f"{self.model} is no network of ours", "give one of `resmlp list`")
        warn_untrained(self.model, saved.trained)
        images = read_images(files, saved.preprocessing) if files else None
        card = export(saved, out, self.to, self.with_preprocessing, self.tolerance, images)
        result = {"out": str(out), **{key: asdict(card)[key] for key in ("to", "files", "output", "difference")}}
        if not self.json:
            names = ", ".join((*card.files, MODEL_JSON))
            print(f"{out}: {names}; {card.output} within {card.difference:.1e} of torch's")
        return result


def read_images(files: list[str], preprocessing: "Preprocessing") -> "Tensor":
    """uint8 P 3 H W: the files as the network sees them. Raises `UserError` naming the first that cannot be read."""
    import torch

    from resmlp.data import eval_transform
    from resmlp.imaging.image_file import File

    transform = eval_transform(preprocessing)
    return torch.stack([transform(File(file).read()) for file in files])
